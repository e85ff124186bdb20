//go:build linux

package loader

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

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
	return m, nil
}

// mend ends what a process that died left in the middle, unless a live one is at work.
func (m *models) mend() error {
	if m.usable() != nil || !m.repo.unsettled() {
		return nil // and nobody is kept waiting
	}
	l, err := tryLock(m.lockPath())
	if l == nil || err != nil {
		return err
	}
	defer l.Release()
	m.said, err = m.repo.replay()
	return modelFailure("mend the repository", err)
}

// settled makes sure, under the lock, that nothing was left in the middle. If something was, plans made before are stale.
func (m *models) settled() error {
	said, err := m.repo.replay()
	m.said = append(m.said, said...)
	if err == nil && len(said) > 0 {
		return manifest.Fail(manifest.KindStale, "lock", "a push before this one had left the repository in the middle of a change")
	}
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
	if q.All {
		all, err := m.repo.entries()
		if err != nil {
			return nil, modelFailure("look at the repository", err)
		}
		q.Names = all
	}
	r.Models = make([]manifest.HostModel, len(q.Names))
	for i, name := range q.Names {
		if err := manifest.CheckModelName(name); err != nil {
			return nil, err
		}
		var err error
		if r.Models[i], err = m.repo.scan(ctx, name); err != nil {
			return nil, m.repo.unseen(name, err)
		}
		r.Models[i].Refusal, r.Models[i].Advice = m.repo.checkModel(r.Models[i])
	}
	for _, name := range q.Present {
		if manifest.CheckModelName(name) != nil {
			continue
		}
		if info, err := os.Stat(m.repo.live(name, "")); err == nil && info.IsDir() {
			r.Present = append(r.Present, name)
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

// prepare builds every model of the plan, and says what will change.
func (h *Host) prepare(ctx context.Context, p manifest.Plan, r *manifest.Receipt) ([]modelFlip, error) {
	built, err := h.models.prepare(ctx, p.Models, r.ID)
	if err != nil || len(built) == 0 {
		return nil, err
	}
	r.Repository = h.models.repo.id()
	flips := make([]modelFlip, len(built))
	for i, b := range built {
		mp := p.Models[i]
		flips[i] = h.models.flipOf(mp, b, p.Keep)
		if flips[i].Done.After, err = h.list(mp.Model.Files, mp.Model.Dirs); err != nil {
			r.Warnings = append(r.Warnings, "the list of the model's files was not written: "+err.Error())
		}
		if b == nil {
			flips[i].Done.Before = flips[i].Done.After
		}
	}
	return flips, nil
}

func (m *models) flipOf(p manifest.ModelPlan, b *placing, keep int) modelFlip {
	f := modelFlip{Keep: keep, Done: manifest.DoneModel{
		Name: p.Model.Name, Place: p.Place, Entry: p.Entry, Gone: p.Gone, Kept: p.Kept, Path: m.repo.live(p.Model.Name, ""),
	}}
	if b == nil {
		return f
	}
	f.Step, f.former, f.Done.Before = &b.step, &b.former, b.before
	return f
}

// prepare builds every model outside the repository, as its files arrive. The result has nil for models that need nothing.
func (m *models) prepare(ctx context.Context, plans []manifest.ModelPlan, receipt string) ([]*placing, error) {
	if len(plans) == 0 {
		return nil, nil
	}
	if err := m.usable(); err != nil {
		return nil, err
	}
	if err := m.settled(); err != nil {
		return nil, err
	}
	all, err := m.build(ctx, plans, receipt)
	if err != nil {
		return nil, errors.Join(err, m.repo.clearTrees())
	}
	return all, nil
}

// build returns when all new states are on the disk and nobody has changed the live ones.
func (m *models) build(ctx context.Context, plans []manifest.ModelPlan, receipt string) ([]*placing, error) {
	builders := make([]*builder, len(plans))
	for i, p := range plans {
		err := checkPlan(p)
		if err == nil && p.Place != manifest.PlaceNothing {
			builders[i], err = m.repo.begin(ctx, p, m.stage)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := each(builders, func(_ int, b *builder) error { return b.frame() }); err != nil {
		return nil, modelFailure("build models", err)
	}
	g, going := errgroup.WithContext(ctx)
	g.Go(func() error { return m.stage.await(going, sentBy(plans)) })
	g.Go(func() error { return m.stage.plant(going, small(builders)) })
	g.Go(func() error { return each(builders, func(_ int, b *builder) error { return b.copyLive(going) }) })
	err := g.Wait()
	if err == nil { // and nothing has left the stage
		err = each(builders, func(_ int, b *builder) error { return b.again(ctx) })
	}
	if err != nil {
		return nil, modelFailure("build models", err)
	}
	uses, all := usesOf(plans), make([]*placing, len(plans))
	err = each(builders, func(i int, b *builder) error {
		err := b.fill(ctx, uses)
		if err == nil {
			all[i], err = b.step(receipt)
		}
		return err
	})
	if err == nil {
		err = m.stage.drop(filesIn(plans)) // before the disk sees any of it
	}
	if err != nil {
		return nil, modelFailure("build models", err)
	}
	if err := m.repo.sync(); err != nil {
		return nil, modelFailure("sync", err)
	}
	// The disk may have taken seconds.
	return all, modelFailure("build models", each(builders, func(_ int, b *builder) error { return b.again(ctx) }))
}

func each(builders []*builder, do func(int, *builder) error) error {
	for i, b := range builders {
		if b == nil {
			continue
		}
		if err := do(i, b); err != nil {
			return err
		}
	}
	return nil
}

// usesOf counts how often each file from the stage is placed, so that the last use can move it.
func usesOf(plans []manifest.ModelPlan) map[manifest.Digest]int {
	uses := map[manifest.Digest]int{}
	for _, p := range plans {
		if p.Place == manifest.PlaceNothing {
			continue
		}
		for _, f := range p.Sent() {
			uses[f.Digest]++
		}
	}
	return uses
}

// filesIn are all files of the models, whether they are sent or not: a push that broke off may have left them in the stage.
func filesIn(plans []manifest.ModelPlan) map[manifest.Digest]bool {
	all := map[manifest.Digest]bool{}
	for _, p := range plans {
		for _, f := range p.Model.Files {
			all[f.Digest] = true
		}
	}
	return all
}

// sentBy lists the files that the plans need from the stage, once each, in the order in which they are sent.
func sentBy(plans []manifest.ModelPlan) []manifest.Descriptor {
	var files []manifest.Descriptor
	seen := map[manifest.Digest]bool{}
	for _, p := range plans {
		if p.Place == manifest.PlaceNothing {
			continue
		}
		for _, f := range p.Sent() {
			if !seen[f.Digest] {
				seen[f.Digest] = true
				files = append(files, f.Descriptor)
			}
		}
	}
	return files
}

// checkPlan makes sure that nothing in p leads out of the model directory.
func checkPlan(p manifest.ModelPlan) error {
	if err := manifest.CheckModelName(p.Model.Name); err != nil {
		return err
	}
	for _, f := range p.Model.Files {
		if err := manifest.CheckFilePath(f.Path); err != nil {
			return err
		}
	}
	for _, f := range append(p.Sent(), p.Copied()...) { // what stays untouched may be a link, which has none
		if err := manifest.CheckDigest(f.Digest); err != nil {
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

// seed remembers the digests of a model that was just placed, so that the next scan reads none of its files: of what was below
// entry and not changed after placed, and of the rest what was known already. Somebody may have edited either meanwhile.
func (r *repository) seed(model, entry string, files []manifest.File, placed time.Time) error {
	old, fresh := r.remembered(model), map[string]known{}
	ours := manifest.ModelPlan{Entry: entry}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(4)
	for _, f := range files {
		g.Go(func() error {
			p := filepath.FromSlash(f.Path)
			info, err := os.Lstat(r.live(model, f.Path))
			if err != nil {
				return err
			}
			k := known{stampOf(info), f.Digest}
			if old[p] == k || ours.Below(f.Path) && k.Size == f.Size && k.CTime <= placed.UnixNano() {
				mu.Lock()
				defer mu.Unlock()
				fresh[p] = k
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return r.writeDigests(model, fresh)
}
