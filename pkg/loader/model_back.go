//go:build linux

package loader

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// modelBack works out the step that puts back what the placement d of a model replaced, and verifies what was kept. Nothing
// changes. Without a receipt in d it is the last placement of that model.
func (h *Host) modelBack(ctx context.Context, d deed, force bool, r *manifest.Receipt) (modelFlip, error) {
	repo := h.models.repo
	live, err := repo.scan(ctx, d.name)
	if err != nil {
		return modelFlip{}, repo.unseen(d.name, err)
	}
	r.Repository = repo.id()
	if d.receipt != "" && !d.changed { // the load had left it as it was
		return modelFlip{Keep: untouched, Done: manifest.DoneModel{
			Name: d.name, Path: repo.live(d.name, ""), Place: manifest.PlaceNothing, Undoes: d.receipt, Before: treeOf(live), After: treeOf(live),
		}}, nil
	}
	f, err := repo.formerOf(d)
	if err != nil {
		return modelFlip{}, err
	}
	if d.receipt == "" && f.nothing() && f.After != treeOf(live) && !force { // what replaced that first state may be long pruned
		return modelFlip{}, notTheLast(d.name)
	}
	had, was := entryOf(live, f.Entry)
	if !force {
		if err := h.unchanged(d, f, had, was); err != nil {
			return modelFlip{}, err
		}
	}
	flip := modelFlip{Keep: untouched, Done: manifest.DoneModel{
		Name: d.name, Path: repo.live(d.name, ""), Place: manifest.PlaceFormer, Entry: f.Entry, Gone: !f.Had, Undoes: f.receipt(), Before: treeOf(live),
	}}
	if !f.Had && !had { // it went away without us
		flip.Spent, flip.Done.After = f.dir, flip.Done.Before
		return flip, nil
	}
	kept, err := f.contents(ctx)
	if err != nil {
		return flip, err
	}
	if err := repo.reachable(f); err != nil {
		return flip, err
	}
	s, err := repo.wayBack(f)
	if err != nil {
		return flip, modelFailure("roll back model "+d.name, err)
	}
	s.Had, s.Was = had, was
	flip.Step = &s
	if f.Entry != "" || f.Had {
		files, dirs := merged(live, f, kept)
		if flip.Done.After, err = h.list(files, dirs); err != nil {
			r.Warnings = append(r.Warnings, "the list of the model's files was not written: "+err.Error())
		}
	}
	return flip, nil
}

// formerOf is what is kept of what the placement d replaced.
func (r *repository) formerOf(d deed) (former, error) {
	what := "roll back model " + d.name
	all, err := r.formers(d.name)
	if err != nil {
		return former{}, modelFailure(what, err)
	}
	i := len(all) - 1
	if d.receipt != "" {
		i = slices.IndexFunc(all, func(f former) bool { return f.receipt() == d.receipt })
	}
	switch {
	case i < 0:
		return former{}, manifest.Fail(manifest.KindNotFound, what, "no former state of it is kept").
			Advise("push the state that you want; how many are kept is said by --keep")
	case i < len(all)-1:
		return former{}, notTheLast(d.name)
	}
	return all[i], nil
}

func notTheLast(model string) error {
	return manifest.Fail(manifest.KindDrift, "roll back model "+model, "a later push, of which this host has no receipt, has changed it").
		Advise("take that one back first, where it was made, or push the state that you want")
}

// unchanged fails with KindDrift when what a rollback would replace is not what was placed.
func (h *Host) unchanged(d deed, f former, had bool, was []manifest.File) error {
	l, err := h.listed(d.model.After)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nobody knows; as receipts of older versions
	}
	if err != nil {
		return modelFailure("roll back model "+d.name, err)
	}
	_, placed := entryOf(manifest.HostModel{Files: l.Files}, f.Entry)
	if had == f.Has && sameContents(placed, was) || !had && !f.Had {
		return nil
	}
	changed := changedPaths(placed, was)
	if len(changed) == 0 {
		changed = []string{path.Join(d.name, f.Entry)}
	}
	return manifest.Fail(manifest.KindDrift, "roll back model "+d.name, "it is not what was placed any more (%s), and a rollback would throw that away",
		some(changed)).Advise("go back all the same with --force")
}

// changedPaths lists the paths at which two lists of files differ.
func changedPaths(a, b []manifest.File) []string {
	digests := func(files []manifest.File) map[string]manifest.Digest {
		m := map[string]manifest.Digest{}
		for _, f := range files {
			m[f.Path] = f.Digest
		}
		return m
	}
	was, is := digests(a), digests(b)
	var paths []string
	for p, d := range is {
		if before, there := was[p]; !there || before != d {
			paths = append(paths, p)
		}
	}
	for p := range was {
		if _, there := is[p]; !there {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

// some writes out the first few of names.
func some(names []string) string {
	const shown = 3
	var plain []string
	for _, n := range names[:min(shown, len(names))] {
		plain = append(plain, manifest.Plain(n))
	}
	if len(names) > shown {
		plain = append(plain, "…")
	}
	return strings.Join(plain, ", ")
}

// merged is a live model with the kept entry in the place of the live one.
func merged(live manifest.HostModel, f former, kept manifest.HostModel) ([]manifest.File, []string) {
	p := manifest.ModelPlan{Entry: f.Entry}
	files := slices.DeleteFunc(slices.Clone(live.Files), func(file manifest.File) bool { return p.Below(file.Path) })
	dirs := slices.DeleteFunc(slices.Clone(live.Dirs), p.Below)
	files, dirs = append(files, kept.Files...), append(dirs, kept.Dirs...)
	slices.SortFunc(files, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(dirs)
	return files, dirs
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

// wayBack works out the step that puts back what is kept.
func (r *repository) wayBack(f former) (s step, err error) {
	newer, err := newest(r.live(f.Model, ""))
	if err != nil {
		return s, err
	}
	tree := r.tree(f.Model)
	if err := ownTree(tree); err != nil {
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
