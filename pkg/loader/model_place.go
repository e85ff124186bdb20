//go:build linux

package loader

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// placing is one model that is built and will change the live tree by one step.
type placing struct {
	step   step
	former former
	before manifest.Digest // of the whole model; empty for none
}

// begin looks at the live model again and makes room for its new state. The live tree is not touched.
func (r *repository) begin(ctx context.Context, p manifest.ModelPlan, stage *fileStage) (*builder, error) {
	what := "build model " + p.Model.Name
	live, err := r.scan(ctx, p.Model.Name)
	if err != nil {
		return nil, modelFailure("look at model "+p.Model.Name, err)
	}
	if err := r.agrees(p, live); err != nil {
		return nil, err
	}
	tree := r.tree(p.Model.Name)
	if err := os.RemoveAll(tree); err != nil {
		return nil, modelFailure(what, err)
	}
	if err := os.Mkdir(tree, 0o700); err != nil {
		return nil, modelFailure(what, err)
	}
	return &builder{
		repo: r, stage: stage, plan: p, live: live, known: r.remembered(p.Model.Name), root: filepath.Join(tree, "new"), newer: after(live.Newer),
	}, nil
}

// agrees makes sure that the live tree still is what the plan was made for.
func (r *repository) agrees(p manifest.ModelPlan, live manifest.HostModel) error {
	again, err := manifest.PlanModel(p.Model, live, true, r.exchange)
	if err != nil {
		return err
	}
	if again.Place != p.Place || again.Entry != p.Entry || again.Gone != p.Gone || !slices.Equal(again.Live, p.Live) {
		return manifest.Fail(manifest.KindStale, "place model "+p.Model.Name, "somebody else changed the model meanwhile")
	}
	return nil
}

// step works out the step that puts what was built in its place.
func (b *builder) step(receipt string) (*placing, error) {
	p, name := b.plan, b.plan.Model.Name
	had := hadEntry(p, b.live)
	f := former{Model: name, Entry: p.Entry, Had: had, Has: !p.Gone, dir: b.repo.formerDir(name, receipt)}
	for _, file := range b.live.Files {
		if had && p.Below(file.Path) {
			f.Files = append(f.Files, file)
		}
	}
	s := step{
		Model: name, Entry: p.Entry, Op: b.repo.stepOf(had, !p.Gone, p.Place == manifest.PlaceFile), Live: b.repo.live(name, p.Entry),
		Fresh: b.root, Kept: f.tree(), Newer: b.newer,
	}
	if !p.Gone {
		var err error
		if s.Inode, err = inodeOf(b.root); err != nil {
			return nil, modelFailure("build model "+name, err)
		}
	}
	return &placing{step: s, former: f, before: treeOf(b.live)}, nil
}

// treeOf is the tree digest of a live model; empty when there is none.
func treeOf(live manifest.HostModel) manifest.Digest {
	if live.Found != manifest.FoundDirectory {
		return ""
	}
	return manifest.TreeDigest(live.Files, live.Dirs)
}

func hadEntry(p manifest.ModelPlan, live manifest.HostModel) bool {
	if p.Entry == "" {
		return live.Found != manifest.FoundNothing
	}
	return slices.Contains(live.Dirs, p.Entry) || slices.ContainsFunc(live.Files, func(f manifest.File) bool { return f.Path == p.Entry })
}

// place makes the step and keeps the former state. The live tree changes in flip and nowhere else.
func (r *repository) place(p *placing) error {
	err := r.record(p.step)
	if err == nil {
		err = r.keep(p.former)
	}
	if err == nil {
		err = p.step.flip()
	}
	if err == nil {
		err = r.conclude(p.step)
	} else {
		err = r.unmade(p.step, err)
	}
	return modelFailure("place model "+p.step.Model, err)
}

// unmade ends a step that failed: one of two renames may have been made, which replay completes; else it is forgotten.
func (r *repository) unmade(s step, cause error) error {
	if !exists(r.journalPath(s.Model)) {
		return cause
	}
	_, err := r.replayOne(r.journalPath(s.Model))
	return errors.Join(cause, err)
}

// rollback puts back what the last placement of a model replaced.
func (r *repository) rollback(ctx context.Context, model string) (former, error) {
	what := "roll back model " + model
	all, err := r.formers(model)
	if err != nil {
		return former{}, modelFailure(what, err)
	}
	if len(all) == 0 {
		return former{}, manifest.Fail(manifest.KindNotFound, what, "no former state of it is kept").
			Advise("push the state that you want; how many are kept is said by --keep")
	}
	f := all[len(all)-1]
	if err := r.reachable(f); err != nil {
		return f, err
	}
	if f.Had {
		if err := f.verify(ctx); err != nil {
			return f, err
		}
	}
	return f, modelFailure(what, r.restore(f))
}

// reachable makes sure that the entry which f replaces can be where it was.
func (r *repository) reachable(f former) error {
	info, err := os.Lstat(filepath.Dir(r.live(f.Model, f.Entry)))
	if err == nil && info.IsDir() {
		return nil
	}
	return manifest.Fail(manifest.KindNotFound, "roll back model "+f.Model, "%s is not in the repository any more, so what was kept of it has no place", f.Model).
		Advise("push the state that you want")
}

// restore exchanges the live entry for the kept one. What it replaces is not kept.
func (r *repository) restore(f former) error {
	if !f.Had && !exists(r.live(f.Model, f.Entry)) { // it went away without us
		return os.RemoveAll(f.dir)
	}
	s, err := r.wayBack(f)
	if err != nil {
		return err
	}
	if err := errors.Join(r.sync(), r.record(s)); err != nil {
		return err
	}
	if err := s.flip(); err != nil {
		return r.unmade(s, err)
	}
	return errors.Join(r.conclude(s), r.sync())
}

// wayBack works out the step that puts back what is kept.
func (r *repository) wayBack(f former) (s step, err error) {
	newer, err := newest(r.live(f.Model, ""))
	if err != nil {
		return s, err
	}
	tree := r.tree(f.Model)
	if err := errors.Join(os.RemoveAll(tree), os.Mkdir(tree, 0o700)); err != nil {
		return s, err
	}
	live := r.live(f.Model, f.Entry)
	s = step{
		Model: f.Model, Entry: f.Entry, Live: live, Fresh: f.tree(), Kept: filepath.Join(tree, "out"), Newer: after(newer), Spent: f.dir,
	}
	if f.Had {
		if s.Inode, err = inodeOf(f.tree()); err != nil {
			return s, err
		}
		if err := os.Chtimes(f.mark(), s.Newer, s.Newer); err != nil {
			return s, err
		}
	}
	s.Op = r.stepOf(exists(live), f.Had, isRegular(live) && isRegular(f.tree()))
	return s, nil
}

func isRegular(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// modelFailure types an error of the repository's file system; nil stays nil.
func modelFailure(step string, err error) error {
	var f *manifest.Failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return manifest.Fail(manifest.KindSpace, step, "%w", err).Advise("free some space beside the repository on the host, then push again")
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		return manifest.Fail(manifest.KindPermission, step, "%w", err).Advise("push with --sudo, or run clara-push check HOST to see what to do")
	case strings.Contains(err.Error(), "file name too long"):
		return manifest.Fail(manifest.KindModel, step, "%w", err).Advise("shorten the name")
	}
	return manifest.Fail(manifest.KindInternal, step, "%w", err)
}
