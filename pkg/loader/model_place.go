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
		return nil, r.unseen(p.Model.Name, err)
	}
	if err := r.agrees(p, live); err != nil {
		return nil, err
	}
	tree := r.tree(p.Model.Name)
	if err := ownTree(tree); err != nil {
		return nil, modelFailure(what, err)
	}
	return &builder{
		repo: r, stage: stage, plan: p, live: live, known: r.remembered(p.Model.Name), root: filepath.Join(tree, "new"), newer: after(live.Newer),
	}, nil
}

// again looks once more at the live model, after what may have taken long: until all files were there, and until they were on
// the disk. A change by somebody else would be overwritten unseen, and what is kept for a rollback would not be what it is said
// to be.
func (b *builder) again(ctx context.Context) error {
	live, err := b.repo.scan(ctx, b.plan.Model.Name)
	if err != nil {
		return err
	}
	if live.Found != b.live.Found || treeOf(live) != treeOf(b.live) {
		return manifest.Fail(manifest.KindStale, "place model "+b.plan.Model.Name, "somebody else changed the model meanwhile")
	}
	b.newer = after(live.Newer)
	return nil
}

// ownTree makes an empty folder for what goes into the live tree and what comes out of it.
func ownTree(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Mkdir(dir, 0o700)
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
	f.After = manifest.TreeDigest(p.Model.Files, p.Model.Dirs)
	if had {
		_, f.Files = entryOf(b.live, p.Entry)
	}
	s := step{
		Model: name, Entry: p.Entry, Op: b.repo.stepOf(had, !p.Gone, p.Place == manifest.PlaceFile), Live: b.repo.live(name, p.Entry),
		Fresh: b.root, Kept: f.tree(), Newer: b.newer,
		Had: had, Was: f.Files,
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
		return manifest.Fail(manifest.KindPermission, step, "%w", err).Advise(manifest.AsRoot + ", or run clara-push check to see what to do")
	case strings.Contains(err.Error(), "file name too long"):
		return manifest.Fail(manifest.KindModel, step, "%w", err).Advise("shorten the name")
	}
	return manifest.Fail(manifest.KindInternal, step, "%w", err)
}
