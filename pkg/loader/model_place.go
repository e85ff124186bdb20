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
	plan   manifest.ModelPlan
	live   manifest.HostModel
	step   step
	former former
}

// prepare builds the new state of one model outside the repository and works out the step. The live tree is not touched.
func (r *repository) prepare(ctx context.Context, p manifest.ModelPlan, stage *fileStage, uses map[string]int, receipt string) (*placing, error) {
	live, err := r.scan(ctx, p.Model.Name)
	if err != nil {
		return nil, modelFailure("look at model "+p.Model.Name, err)
	}
	if err := agrees(p, live); err != nil {
		return nil, err
	}
	tree := r.tree(p.Model.Name)
	if err := os.RemoveAll(tree); err != nil {
		return nil, modelFailure("build model "+p.Model.Name, err)
	}
	if err := os.Mkdir(tree, 0o700); err != nil {
		return nil, modelFailure("build model "+p.Model.Name, err)
	}
	b := &builder{repo: r, stage: stage, plan: p, live: map[string]bool{}, uses: uses, known: r.remembered(p.Model.Name), newer: after(live.Newer)}
	for _, f := range p.Live {
		b.live[f] = true
	}
	fresh := filepath.Join(tree, "new")
	if !p.Gone {
		if err := b.build(ctx, fresh); err != nil {
			return nil, modelFailure("build model "+p.Model.Name, err)
		}
	}
	return r.plan(p, live, b, fresh, receipt)
}

// plan works out the step that puts fresh in its place.
func (r *repository) plan(p manifest.ModelPlan, live manifest.HostModel, b *builder, fresh, receipt string) (*placing, error) {
	name := p.Model.Name
	had := hadEntry(p, live)
	f := former{Model: name, Entry: p.Entry, Had: had, Has: !p.Gone, dir: r.formerDir(name, receipt)}
	if had {
		for _, file := range live.Files {
			if b.below(file.Path) {
				f.Files = append(f.Files, file)
			}
		}
	}
	s := step{
		Model: name, Entry: p.Entry, Op: r.stepOf(had, !p.Gone), Live: r.live(name, p.Entry), Fresh: fresh, Kept: f.tree(), Newer: b.newer,
	}
	if mark := timeMark(p.Model); mark != "" {
		s.Mark = r.live(name, mark)
	}
	if !p.Gone {
		var err error
		if s.Inode, err = inodeOf(fresh); err != nil {
			return nil, modelFailure("build model "+name, err)
		}
	}
	return &placing{plan: p, live: live, step: s, former: f}, nil
}

func hadEntry(p manifest.ModelPlan, live manifest.HostModel) bool {
	if p.Entry == "" {
		return live.Found != manifest.FoundNothing
	}
	return slices.Contains(live.Dirs, p.Entry) || slices.ContainsFunc(live.Files, func(f manifest.File) bool { return f.Path == p.Entry })
}

// agrees makes sure that the live tree still is what the plan was made for.
func agrees(p manifest.ModelPlan, live manifest.HostModel) error {
	again, err := manifest.PlanModel(p.Model, live, true)
	if err != nil {
		return err
	}
	if again.Place != p.Place || again.Entry != p.Entry || again.Gone != p.Gone || !slices.Equal(again.Live, p.Live) {
		return manifest.Fail(manifest.KindStale, "place model "+p.Model.Name, "somebody else changed the model meanwhile")
	}
	return nil
}

// place makes the step and keeps the former state. The live tree changes in flip and nowhere else.
func (r *repository) place(p *placing) error {
	err := p.former.write()
	if err == nil {
		err = r.record(p.step)
	}
	if err == nil {
		err = p.step.flip()
	}
	if err != nil {
		return r.unplaced(p, err)
	}
	if err := r.conclude(p.step); err != nil {
		return modelFailure("place model "+p.plan.Model.Name, err)
	}
	return nil
}

// unplaced undoes a step that failed; one of two renames may have been made, then replay completes it.
func (r *repository) unplaced(p *placing, cause error) error {
	if exists(r.journalPath(p.step.Model)) {
		_, err := r.replayOne(r.journalPath(p.step.Model))
		return modelFailure("place model "+p.plan.Model.Name, errors.Join(cause, err))
	}
	return modelFailure("place model "+p.plan.Model.Name, errors.Join(cause, os.RemoveAll(p.former.dir)))
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
	if f.Had {
		if err := f.verify(ctx); err != nil {
			return f, err
		}
	}
	return f, modelFailure(what, r.restore(f))
}

func (r *repository) restore(f former) error {
	newer, err := newest(r.live(f.Model, ""))
	if err != nil {
		return err
	}
	tree := r.tree(f.Model)
	if err := errors.Join(os.RemoveAll(tree), os.Mkdir(tree, 0o700)); err != nil {
		return err
	}
	s := step{
		Model: f.Model, Entry: f.Entry, Op: r.stepOf(f.Has, f.Had), Live: r.live(f.Model, f.Entry), Fresh: f.tree(),
		Kept: filepath.Join(tree, "out"), Newer: after(newer), Spent: f.dir,
	}
	if f.Had {
		if s.Inode, err = inodeOf(f.tree()); err != nil {
			return err
		}
		if err := os.Chtimes(f.mark(), s.Newer, s.Newer); err != nil {
			return err
		}
	}
	if f.Entry != "" {
		s.Mark = r.live(f.Model, "config.pbtxt")
	}
	if err := errors.Join(r.sync(), r.record(s)); err != nil {
		return err
	}
	if err := s.flip(); err != nil {
		_, again := r.replayOne(r.journalPath(f.Model))
		return errors.Join(err, again)
	}
	return errors.Join(r.conclude(s), r.sync())
}

// mark is the path inside the kept entry whose time old servers look at.
func (f former) mark() string {
	if f.Entry == "" {
		for _, file := range f.Files {
			if file.Path == "config.pbtxt" {
				return filepath.Join(f.tree(), "config.pbtxt")
			}
		}
	}
	return f.tree()
}

// verify makes sure that a kept entry is what it was.
func (f former) verify(ctx context.Context) error {
	var got manifest.HostModel
	root := f.tree()
	info, err := os.Lstat(root)
	if err == nil && info.IsDir() {
		_, err = describe(ctx, root, nil, &got)
	} else if err == nil {
		var k known
		k, err = digestOf(ctx, root, info, known{})
		got.Files = []manifest.File{{Path: "", Descriptor: manifest.Descriptor{Digest: k.Digest}}}
	}
	if err != nil {
		return modelFailure("verify the former state", err)
	}
	have := map[string]manifest.Digest{}
	for _, file := range got.Files {
		have[filepath.ToSlash(filepath.Join(f.Entry, file.Path))] = file.Digest
	}
	for _, file := range f.Files {
		if have[file.Path] != file.Digest {
			return manifest.Fail(manifest.KindIntegrity, "roll back model "+f.Model, "the kept file %s is not what it was", file.Path).
				Advise("push the state that you want")
		}
	}
	return nil
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
