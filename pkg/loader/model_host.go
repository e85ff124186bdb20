package loader

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// models is the half of a Host that places models.
type models struct {
	repo    *repository
	stage   *fileStage
	refusal error    // why repo cannot be used; nil when it can
	said    []string // what replay found
}

// openModels opens the repository at path. That it cannot be used is not an error here: an inventory tells it.
func openModels(path string) (*models, error) {
	m := &models{}
	m.repo, m.refusal = openRepository(path)
	if m.refusal != nil {
		return m, nil //nolint:nilerr // an inventory tells it
	}
	stage, err := openFileStage(filepath.Join(m.repo.own, "files"))
	if err != nil {
		return nil, stageFailure("open stage", err)
	}
	m.stage = stage
	return m, m.mend()
}

// mend ends what a process that died left in the middle, unless a live one is at work.
func (m *models) mend() error {
	l, err := tryLock(m.lockPath())
	if l == nil || err != nil {
		return err
	}
	defer l.Release()
	m.said, err = m.repo.replay()
	return modelFailure("mend the repository", err)
}

func (m *models) lockPath() string { return filepath.Join(m.repo.own, "lock") }

// inventory tells what the repository and its stage have.
func (m *models) inventory(ctx context.Context, q manifest.ModelQuery) (*manifest.Repository, error) {
	r := &manifest.Repository{Path: m.repo.path, Real: m.repo.real}
	if m.refusal != nil {
		var f *manifest.Failure
		r.Refusal = m.refusal.Error()
		if errors.As(m.refusal, &f) {
			r.Refusal, r.Advice = f.Err.Error(), f.Hint
		}
		return r, nil
	}
	r.Stage, r.Exchange, r.Mended = spaceAt(m.repo.own), m.repo.exchange, m.said
	r.Models = make([]manifest.HostModel, len(q.Names))
	for i, name := range q.Names {
		if err := manifest.CheckModelName(name); err != nil {
			return nil, err
		}
		var err error
		if r.Models[i], err = m.repo.scan(ctx, name); err != nil {
			return nil, modelFailure("look at model "+name, err)
		}
	}
	var err error
	r.Staged, err = m.stage.report(q.Blobs)
	return r, err
}

// PutFile keeps one chunk of a model's file.
func (h *Host) PutFile(d manifest.Digest, c Chunk) error {
	if err := h.models.usable(); err != nil {
		return err
	}
	return h.models.stage.put(d, c)
}

// PutPack keeps small files of models, one behind the other in c.
func (h *Host) PutPack(parts []manifest.Part, c Chunk) error {
	if err := h.models.usable(); err != nil {
		return err
	}
	return h.models.stage.pack(parts, c)
}

func (m *models) usable() error {
	if m == nil {
		return manifest.Fail(manifest.KindUsage, "stage", "no repository was named")
	}
	return m.refusal
}

// prepare builds every model outside the repository, as its files arrive.
func (m *models) prepare(ctx context.Context, plans []manifest.ModelPlan, receipt string) ([]*placing, error) {
	if len(plans) == 0 {
		return nil, nil
	}
	if err := m.usable(); err != nil {
		return nil, err
	}
	uses := usesOf(plans)
	all := make([]*placing, len(plans))
	for i, p := range plans {
		if p.Place == manifest.PlaceNothing {
			continue
		}
		if err := checkPlan(p); err != nil {
			return nil, err
		}
		var err error
		if all[i], err = m.repo.prepare(ctx, p, m.stage, uses, receipt); err != nil {
			return nil, err
		}
	}
	return all, modelFailure("sync", m.repo.sync())
}

// usesOf counts how often each file from the stage is placed, so that the last use can move it.
func usesOf(plans []manifest.ModelPlan) map[string]int {
	uses := map[string]int{}
	for _, p := range plans {
		if p.Place == manifest.PlaceNothing {
			continue
		}
		for _, f := range p.Sent() {
			uses[string(f.Digest)]++
		}
	}
	return uses
}

// checkPlan makes sure that nothing in p leads out of the model directory.
func checkPlan(p manifest.ModelPlan) error {
	if err := manifest.CheckModelName(p.Model.Name); err != nil {
		return err
	}
	for _, f := range p.Model.Files {
		if err := errors.Join(manifest.CheckFilePath(f.Path), manifest.CheckDigest(f.Digest)); err != nil {
			return err
		}
	}
	for _, d := range append(p.Model.Dirs, p.Live...) {
		if err := manifest.CheckFilePath(d); err != nil {
			return err
		}
	}
	if p.Entry != "" {
		return manifest.CheckFilePath(p.Entry)
	}
	return nil
}

// publish makes the steps, one model after the other in the order of the plan, and says what was done.
func (m *models) publish(all []*placing, plan manifest.Plan, receipt *manifest.Receipt, ev manifest.Events) error {
	for i, p := range all {
		name := plan.Models[i].Model.Name
		done := manifest.DoneModel{Name: name, Place: plan.Models[i].Place, Entry: plan.Models[i].Entry, Kept: plan.Models[i].Kept}
		if p != nil {
			ev.Say(manifest.StepPlace, name, "placing")
			if err := m.repo.place(p); err != nil {
				return err
			}
			done.Path = m.repo.live(name, "")
		}
		receipt.Models = append(receipt.Models, done)
	}
	if len(all) == 0 {
		return nil
	}
	if err := m.repo.sync(); err != nil {
		return modelFailure("sync", err)
	}
	return m.tidy(all, plan)
}

// tidy prunes what is kept, remembers what was placed, and clears the stage.
func (m *models) tidy(all []*placing, plan manifest.Plan) error {
	for _, p := range all {
		if p == nil {
			continue
		}
		if err := m.repo.prune(p.plan.Model.Name, plan.Keep); err != nil {
			return modelFailure("prune", err)
		}
		if err := m.repo.seed(p.plan.Model); err != nil {
			return modelFailure("remember digests", err)
		}
	}
	return modelFailure("clear stage", m.stage.clear())
}

// seed remembers the digests of a model that was just placed, so that the next scan reads none of it.
func (r *repository) seed(m manifest.Model) error {
	fresh := map[string]known{}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(4)
	for _, f := range m.Files {
		g.Go(func() error {
			p := filepath.FromSlash(f.Path)
			info, err := os.Lstat(r.live(m.Name, f.Path))
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			fresh[p] = known{stampOf(info), f.Digest}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return r.writeDigests(m.Name, fresh)
}

// RollbackModel puts back what the last placement of a model replaced.
func (h *Host) RollbackModel(ctx context.Context, model string) (manifest.DoneModel, error) {
	done := manifest.DoneModel{Name: model}
	if err := errors.Join(h.models.usable(), manifest.CheckModelName(model)); err != nil {
		return done, err
	}
	f, err := h.models.repo.rollback(ctx, model)
	if err != nil {
		return done, err
	}
	done.Path, done.Entry, done.Place = h.models.repo.live(model, ""), f.Entry, manifest.PlaceModel
	return done, nil
}
