//go:build linux

package loader

import (
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Adopt opens the repository in which what lies by the receipts, where Options named none. It comes before Lock, which locks
// that repository too. It fails with KindNotFound for a model that no receipt speaks of, KindUsage when what lies in several
// repositories.
func (h *Host) Adopt(what manifest.Selection) error {
	if h.models != nil {
		return nil
	}
	past, err := h.history()
	if err != nil {
		return err
	}
	repositories, err := past.repositories(what)
	if err != nil || len(repositories) == 0 {
		return err
	}
	if len(repositories) > 1 {
		return manifest.Fail(manifest.KindUsage, "", "the models lie in several repositories: %s", strings.Join(repositories, ", ")).
			Advise("take them one by one, with --repository")
	}
	h.models, err = openModels(repositories[0])
	return err
}

// repositories lists where the models of what lie, each once.
func (t *history) repositories(what manifest.Selection) ([]string, error) {
	var found []string
	add := func(k key) {
		if k.repository != "" && !slices.Contains(found, k.repository) {
			found = append(found, k.repository)
		}
	}
	if what.Empty() {
		for _, d := range t.lastPush() {
			add(d.key)
		}
	}
	for _, name := range what.Models {
		known := false
		for _, k := range t.order {
			if k.repository != "" && k.name == name {
				add(k)
				known = true
			}
		}
		if !known {
			return nil, manifest.Fail(manifest.KindNotFound, "read receipts", "no receipt on this host speaks of a model %s", manifest.Plain(name)).
				Advise("clara-push status lists what was placed; --repository names where it lies, if it was placed without a receipt")
		}
	}
	return found, nil
}
