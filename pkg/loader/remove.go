//go:build linux

package loader

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Remove takes away the images and models that what names, with everything that is kept of them: it cannot be taken back.
// Only what a receipt says that clara-push placed can be removed. An image goes with its last name; one that a container
// uses stays, and the receipt warns. The caller holds the lock.
//
// It fails with KindNotFound when no receipt speaks of it, KindDrift when it is not what was placed any more (unless
// what.Force is set).
func (h *Host) Remove(ctx context.Context, what manifest.Selection, by Owner, ev manifest.Events) (manifest.Receipt, error) {
	j := &journal{Receipt: h.newReceipt(manifest.Plan{From: by.From, Session: by.Session})}
	j.Receipt.Act = manifest.ActRemove
	past, err := h.history()
	if err != nil {
		return j.Receipt, err
	}
	deeds, err := h.toRemove(past, what)
	if err != nil {
		return j.Receipt, err
	}
	for _, d := range deeds {
		if d.repository != "" {
			f, err := h.modelAway(ctx, past, d, what.Force)
			if err != nil {
				return j.Receipt, unplanned(err, h.models.scrap(j.Models))
			}
			j.Models, j.Receipt.Repository = append(j.Models, f), d.repository
			continue
		}
		f, err := h.imageAway(ctx, d, what.Force)
		if err != nil {
			return j.Receipt, unplanned(err, h.models.scrap(j.Models))
		}
		j.Images = append(j.Images, f)
	}
	receipt, err := h.carryOut(ctx, j, func() {}, ev)
	return receipt, meanwhile(err)
}

// toRemove finds what was set last for everything that what names.
func (h *Host) toRemove(past *history, what manifest.Selection) ([]deed, error) {
	if what.Empty() {
		return nil, manifest.Fail(manifest.KindUsage, "", "what is to be removed?")
	}
	var deeds []deed
	for _, ref := range what.Images {
		k, err := past.image(ref)
		if err != nil {
			return nil, err
		}
		if past.stories[k].now == nil {
			return nil, removedAlready("image " + ref)
		}
		deeds = append(deeds, *past.stories[k].now)
	}
	for _, name := range what.Models {
		if err := errors.Join(h.models.usable(), manifest.CheckModelName(name)); err != nil {
			return nil, err
		}
		s := past.stories[h.modelKey(name)]
		if s == nil {
			return nil, manifest.Fail(manifest.KindNotFound, "read receipts", "no receipt on this host speaks of a model %s in %s", name, h.models.repo.path).
				Advise("clara-push status lists what was placed; what clara-push did not place is not its to remove")
		}
		if s.now == nil {
			return nil, removedAlready("model " + name)
		}
		deeds = append(deeds, *s.now)
	}
	deeds = once(deeds)
	return deeds, h.reach(deeds)
}

func removedAlready(what string) error {
	return manifest.Fail(manifest.KindNotFound, "read receipts", "%s was taken away already, says the newest receipt that speaks of it", manifest.Plain(what))
}

// imageAway works out how a name is taken away. That nothing bears it any more is no failure.
func (h *Host) imageAway(ctx context.Context, d deed, force bool) (imageFlip, error) {
	now, err := h.engine.ID(ctx, d.name)
	if err != nil {
		return imageFlip{}, err
	}
	if d.foreign && now != "" && !force {
		return imageFlip{}, notOurs("remove " + d.name)
	}
	if placed := d.placed.ID; now != "" && now != placed && !force {
		return imageFlip{}, manifest.Fail(manifest.KindDrift, "remove "+d.name, "the name was moved since: it points at %s, placed was %s", now, placed).
			Advise("docker rmi %s removes that; or remove it all the same with --force", d.name)
	}
	return imageFlip{Done: manifest.Done{
		Ref: d.name, Action: manifest.ActionRemove, Before: h.stateOf(ctx, now), Proof: []string{},
	}}, nil
}

func notOurs(step string) error {
	return manifest.Fail(manifest.KindDrift, step, "it was there before clara-push, and a rollback has put it back").
		Advise("remove it by hand, or all the same with --force")
}

// modelAway works out the step that takes a model out of the repository.
func (h *Host) modelAway(ctx context.Context, past *history, d deed, force bool) (modelFlip, error) {
	repo := h.models.repo
	live, err := repo.scan(ctx, d.name)
	if err != nil {
		return modelFlip{}, repo.unseen(d.name, err)
	}
	flip := modelFlip{Done: manifest.DoneModel{
		Name: d.name, Path: repo.live(d.name, ""), Place: manifest.PlaceRemove, Gone: true, Before: treeOf(live),
	}}
	if live.Found == manifest.FoundNothing {
		return flip, nil
	}
	if err := h.removable(past, d, live, force); err != nil {
		return flip, err
	}
	tree := repo.tree(d.name)
	if err := ownTree(tree); err != nil {
		return flip, modelFailure("remove model "+d.name, err)
	}
	flip.Step = &step{
		Model: d.name, Op: opOut, Live: repo.live(d.name, ""), Kept: filepath.Join(tree, "out"), Newer: after(live.Newer), Had: true, Was: live.Files,
	}
	return flip, nil
}

// removable makes sure that nothing goes with the model that clara-push did not place.
func (h *Host) removable(past *history, d deed, live manifest.HostModel, force bool) error {
	step := "remove model " + d.name
	if live.Found != manifest.FoundDirectory {
		return manifest.Fail(manifest.KindPermission, step, "there is a %s of that name", live.Found).Advise("remove it by hand")
	}
	if refusal, advice := h.models.repo.checkModel(live); refusal != "" {
		f := manifest.Fail(manifest.KindPermission, step, "%s", refusal)
		f.Hint = advice
		return f
	}
	if force {
		return nil
	}
	others := h.notPlaced(past, d, live)
	switch {
	case d.foreign:
		return notOurs(step)
	case d.placedTree != "" && d.placedTree != treeOf(live):
		return manifest.Fail(manifest.KindDrift, step, "it is not what was placed any more (%s)", some(h.changes(d.placedTree, live))).
			Advise("save what you need of it, then remove it with --force")
	case len(others) > 0:
		return manifest.Fail(manifest.KindDrift, step, "version %s was placed by somebody else", strings.Join(others, ", ")).
			Advise("remove that by hand, or everything with --force")
	}
	return nil
}

// notPlaced lists the versions that the last push kept and that no push before it had placed as they are now.
func (h *Host) notPlaced(past *history, d deed, live manifest.HostModel) []string {
	return slices.DeleteFunc(slices.Clone(d.model.Kept), func(version string) bool {
		_, now := entryOf(live, version)
		return slices.ContainsFunc(past.receipts, func(r manifest.Receipt) bool {
			return r.Act == manifest.ActPush && slices.ContainsFunc(deedsOf(r), func(e deed) bool {
				if e.key != d.key || slices.Contains(e.model.Kept, version) {
					return false
				}
				l, err := h.listed(e.model.After)
				had, was := entryOf(manifest.HostModel{Files: l.Files, Dirs: l.Dirs}, version)
				return err == nil && had && sameContents(was, now)
			})
		})
	})
}

// changes lists the paths at which a live model differs from what a tree digest stands for: of files, and of folders where
// no file differs; none when nobody knows.
func (h *Host) changes(placed manifest.Digest, live manifest.HostModel) []string {
	l, err := h.listed(placed)
	if err != nil {
		return nil
	}
	if files := changedPaths(l.Files, live.Files); len(files) > 0 {
		return files
	}
	return changedPaths(folders(l.Dirs), folders(live.Dirs))
}

// folders are directories in the shape of files, to be compared like them.
func folders(dirs []string) []manifest.File {
	files := make([]manifest.File, len(dirs))
	for i, d := range dirs {
		files[i].Path = d + "/"
	}
	return files
}
