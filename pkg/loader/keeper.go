//go:build linux

package loader

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// keeperFolder is the part of the engine's names that is ours. Names in it keep former images reachable for a rollback.
const keeperFolder = "clara-push-former/"

// maxShort caps the readable part of a keeper name; a whole repository name may have 255 characters.
const maxShort = 100

// keeperReceipts is how many of the newest receipts tell the age of keeper names; names beyond count as oldest.
const keeperReceipts = 1000

// keeperRepository is where the former images of ref are kept: the last part of its repository, for people, and a hash of
// the whole of it, so that two names never share keepers. It is valid for every valid ref.
func keeperRepository(ref string) string {
	name := ref
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		name = ref[:i]
	}
	short := path.Base(name)
	if len(short) > maxShort {
		short = strings.TrimRight(short[:maxShort], "._-")
	}
	return fmt.Sprintf("%s%s-%s", keeperFolder, short, digest.FromString(ref).Encoded()[:8])
}

// keeperName is the name that keeps the former image s of ref.
func keeperName(ref string, s manifest.State) string {
	id := s.Config
	if id == "" {
		id = manifest.Digest(s.ID)
	}
	return keeperRepository(ref) + ":" + id.Encoded()[:12]
}

// keeps reports whether name keeps a former image of ref.
func keeps(name, ref string) bool { return strings.HasPrefix(name, keeperRepository(ref)+":") }

// dropKeepers takes away the names that keep former images of ref, except the newest keep of them; current is the one just
// given, if any. What could not be dropped, because a container uses it, is a warning.
func (h *Host) dropKeepers(ctx context.Context, ref string, keep int, current string) (warnings []string) {
	names, err := h.keepers(ctx, ref, current)
	if err != nil {
		return []string{"former images were not cleared away: " + err.Error()}
	}
	for _, name := range names[min(keep, len(names)):] {
		if err := h.engine.Untag(ctx, name); err != nil && manifest.KindOf(err) != manifest.KindNotFound {
			warnings = append(warnings, fmt.Sprintf("the former image %s stays: %s", name, err))
		}
	}
	return warnings
}

// keepers lists the names that keep former images of ref, newest first: current, then by the receipts, then the others.
func (h *Host) keepers(ctx context.Context, ref, current string) ([]string, error) {
	refs, err := h.engine.Refs(ctx)
	if err != nil {
		return nil, err
	}
	receipts, err := h.newestReceipts(keeperReceipts)
	if err != nil {
		return nil, err
	}
	age := map[string]int{current: -1}
	for n, r := range receipts { // newest first
		for _, d := range r.Images {
			if _, known := age[d.Keeper]; !known {
				age[d.Keeper] = n
			}
		}
	}
	var names []string
	for r := range refs {
		if keeps(r, ref) {
			names = append(names, r)
			if _, known := age[r]; !known {
				age[r] = len(receipts)
			}
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(age[a], age[b]), cmp.Compare(a, b)) })
	return names, nil
}
