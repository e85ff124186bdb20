package bundle

import (
	"encoding/json"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// MaxInventory is how many bytes an inventory in a file may have.
const MaxInventory = 64 << 20

// For builds on what a host told about itself: raw is its inventory as JSON, name says for people which host. What
// manifest.Diff would not send to that host is left out.
func For(raw []byte, name string) (*Base, error) {
	if len(raw) > MaxInventory {
		return nil, badInventory(name, "it has more than %s", manifest.FormatBytes(MaxInventory))
	}
	var inv manifest.Inventory
	if err := json.Unmarshal(raw, &inv); err != nil {
		return nil, badInventory(name, "%w", err)
	}
	if !slices.Contains([]manifest.Store{manifest.StoreGraphdriver, manifest.StoreContainerd, manifest.StorePodman}, inv.Engine.Store) &&
		(inv.Engine.Store != "" || inv.Repository == nil) {
		return nil, badInventory(name, "it does not say what engine the host has")
	}
	for _, d := range digestsOf(inv) {
		if err := manifest.CheckDigest(d); err != nil {
			return nil, badInventory(name, "%w", err)
		}
	}
	return &Base{Digest: digest.FromBytes(raw), Name: name, inventory: lasting(inv)}, nil
}

func badInventory(name, format string, args ...any) error {
	f := manifest.Fail(manifest.KindMalformed, "read inventory "+name, format, args...)
	return f.Advise("make it with clara-push check HOST --inventory FILE")
}

// digestsOf lists every digest by which something may be left out.
func digestsOf(inv manifest.Inventory) []manifest.Digest {
	all := slices.Clone(inv.Chains)
	for _, b := range inv.Blobs {
		all = append(all, b.Digest)
		if b.DiffID != "" {
			all = append(all, b.DiffID)
		}
	}
	if inv.Repository == nil {
		return all
	}
	for _, m := range inv.Repository.Models {
		for _, f := range m.Files {
			if f.Digest != "" { // links have none
				all = append(all, f.Digest)
			}
		}
	}
	return all
}

// lasting is inv without what may be otherwise when the bundle arrives: what waits in a stage, the free space, who may
// write.
func lasting(inv manifest.Inventory) *manifest.Inventory {
	inv.Staged, inv.Stage, inv.Data = nil, manifest.Space{}, manifest.Space{}
	repo := manifest.Repository{}
	if inv.Repository != nil {
		repo = *inv.Repository
		repo.Models = slices.Clone(repo.Models)
		for n := range repo.Models {
			repo.Models[n].Refusal, repo.Models[n].Advice = "", ""
		}
	}
	repo.Staged, repo.Stage, repo.Refusal, repo.Advice = nil, manifest.Space{}, "", ""
	inv.Repository = &repo
	return &inv
}

// missing names the layers and files of a that manifest.Diff would send to the host.
func (b *Base) missing(a manifest.Artifacts, anyPlatform bool) (map[manifest.Digest]bool, error) {
	inv := *b.inventory
	repo := *inv.Repository
	repo.Models = slices.Clone(repo.Models)
	for _, m := range a.Models { // what the inventory does not speak of is not there
		if !slices.ContainsFunc(repo.Models, func(h manifest.HostModel) bool { return h.Name == m.Name }) {
			repo.Models = append(repo.Models, manifest.HostModel{Name: m.Name})
		}
	}
	inv.Repository = &repo
	p, err := manifest.Diff(a, inv, manifest.Options{AnyPlatform: anyPlatform})
	if err != nil {
		return nil, err
	}
	t := map[manifest.Digest]bool{}
	for _, blobs := range [][]manifest.BlobPlan{p.Blobs, p.Files} {
		for _, d := range blobs {
			t[d.Digest] = true
		}
	}
	return t, nil
}
