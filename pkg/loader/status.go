//go:build linux

package loader

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// shownPaths is how many changed files of a model a status names.
const shownPaths = 20

// Status tells what receipts say that was placed here, and whether it still is. Files that have not changed since they were
// looked at last are not read. It fails with KindPermission when images were placed and there is no engine to ask.
func (h *Host) Status(ctx context.Context) (manifest.Status, error) {
	s := manifest.Status{Host: hostName(), State: h.dir}
	past, err := h.history()
	if err != nil {
		return s, err
	}
	s.Warnings = h.heard()
	s.Releases = past.releases()
	for _, k := range past.order {
		story := past.stories[k]
		switch {
		case story.now == nil:
		case k.repository == "":
			if h.engine == nil {
				return s, h.noEngine()
			}
			i, err := h.imageStatus(ctx, story)
			if err != nil {
				return s, err
			}
			s.Images = append(s.Images, i)
		default:
			m, err := h.modelStatus(ctx, story)
			if err != nil {
				return s, err
			}
			s.Models = append(s.Models, m)
		}
	}
	return s, nil
}

func (h *Host) imageStatus(ctx context.Context, s *story) (manifest.InstalledImage, error) {
	d := s.now
	i := manifest.InstalledImage{Ref: d.name, Receipt: d.receipt, Since: d.at, Placed: d.placed, From: d.from, Foreign: d.foreign}
	id, err := h.engine.ID(ctx, d.name)
	if err != nil {
		return i, err
	}
	if last := s.last(); last != nil && last.image.Before.ID != "" {
		_, _, err := h.findFormer(ctx, last.image)
		i.Back = err == nil
	}
	if i.Now = (manifest.State{ID: id}); id == "" {
		i.Drift = manifest.DriftGone
		return i, nil
	}
	img, err := h.engine.Image(ctx, id, manifest.Platform{})
	switch kind := manifest.KindOf(err); kind {
	case "":
		i.Now.Config, i.Now.Manifest = img.Config.Digest, img.Manifest.Digest
	case manifest.KindNotFound, manifest.KindMalformed, manifest.KindIntegrity:
		i.Drift = manifest.DriftBroken
	default:
		return i, err
	}
	switch {
	case id != i.Placed.ID:
		i.Drift = manifest.DriftMoved
	case len(img.Missing) > 0 || lost(img):
		i.Drift = manifest.DriftBroken
	}
	return i, nil
}

// lost reports whether an engine that has a name has nothing behind it.
func lost(i engine.Image) bool { return i.ID == "" || i.DiffIDs == nil }

func (h *Host) modelStatus(ctx context.Context, s *story) (manifest.InstalledModel, error) {
	d := s.now
	i := manifest.InstalledModel{
		Name: d.name, Repository: d.repository, Receipt: d.receipt, Since: d.at, Placed: d.placedTree, From: d.from, Foreign: d.foreign,
	}
	m, err := h.modelsAt(d.repository)
	if err != nil {
		return i, err
	}
	if m.refusal != nil && m.repo.real == "" {
		if _, err := os.Stat(m.repo.path); !errors.Is(err, fs.ErrNotExist) {
			return i, m.refusal // it may be there all the same
		}
		i.Drift = manifest.DriftGone
		return i, nil
	}
	live, err := m.look(ctx, d.name)
	if err == nil && m.refusal == nil {
		i.Back, err = m.repo.back(d.name, s.last())
	}
	if err != nil {
		return i, m.repo.unseen(d.name, err)
	}
	i.Now = treeOf(live)
	switch {
	case live.Found == manifest.FoundNothing:
		i.Drift = manifest.DriftGone
	case i.Placed != "" && i.Now != i.Placed:
		i.Drift = manifest.DriftChanged
		changed := h.changes(i.Placed, live)
		i.Changed = changed[:min(shownPaths, len(changed))]
	}
	return i, nil
}

// look describes a model, also in a repository in which nothing can be placed: then every file is read, and nothing remembered.
func (m *models) look(ctx context.Context, name string) (manifest.HostModel, error) {
	if m.refusal == nil {
		return m.repo.scan(ctx, name)
	}
	return (&repository{path: m.repo.path, real: m.repo.real}).scan(ctx, name)
}

// back reports whether a former state is kept to which a rollback of the model can go; that there was nothing is none.
func (r *repository) back(model string, last *deed) (bool, error) {
	formers, err := r.formers(model)
	if n := len(formers); err == nil && n > 0 {
		f := formers[n-1]
		return !f.nothing() && (last == nil || f.receipt() >= last.receipt), nil
	}
	return false, err
}

// modelsAt opens the repository of that path, to look at it.
func (h *Host) modelsAt(path string) (*models, error) {
	if h.models != nil && h.models.repo.id() == path {
		return h.models, nil
	}
	if m := h.others[path]; m != nil {
		return m, nil
	}
	m, err := openModels(path)
	if err == nil {
		if h.others == nil {
			h.others = map[string]*models{}
		}
		h.others[path] = m
	}
	return m, err
}
