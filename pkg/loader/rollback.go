//go:build linux

package loader

import (
	"context"
	"fmt"
	"slices"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Rollback puts back what the last push or load replaced, as a whole; or of the images and models that what names, what the
// last push of each replaced. Everything is checked and proven before anything changes; then each name and each model flips
// on its own, and a receipt is written. What it replaces is not kept. A load that changed nothing is taken back in name only.
// The caller holds the lock.
//
// It fails with KindNotFound when there is nothing to go back to, KindDrift when somebody else has changed what was placed
// (unless what.Force is set), KindIntegrity when what was kept is not what it was.
func (h *Host) Rollback(ctx context.Context, what manifest.Selection, by Owner, ev manifest.Events) (manifest.Receipt, error) {
	j := &journal{Receipt: h.newReceipt(manifest.Plan{From: by.From, Session: by.Session})}
	j.Receipt.Act = manifest.ActRollback
	past, err := h.history()
	if err != nil {
		return j.Receipt, err
	}
	deeds, err := h.toTakeBack(past, what)
	if err != nil {
		return j.Receipt, err
	}
	if what.Empty() {
		for _, name := range past.removed[deeds[0].receipt] {
			j.Receipt.Warnings = append(j.Receipt.Warnings, manifest.Plain(name)+" came with it and was removed since; what that had replaced is not put back")
		}
	}
	for _, d := range deeds {
		if d.repository != "" {
			continue
		}
		f, err := h.imageBack(ctx, d, what.Force, ev)
		if err != nil {
			return j.Receipt, err
		}
		j.Images = append(j.Images, f)
	}
	for _, d := range slices.Backward(deeds) { // ensembles before what they use
		if d.repository == "" {
			continue
		}
		f, err := h.modelBack(ctx, d, what.Force, &j.Receipt)
		if err != nil {
			return j.Receipt, unplanned(err, h.models.scrap(j.Models))
		}
		j.Models = append(j.Models, f)
	}
	receipt, err := h.carryOut(ctx, j, func() {}, ev)
	return receipt, meanwhile(err)
}

// meanwhile says of a rollback or removal that it met a change by somebody else halfway: nothing plans it anew by itself.
func meanwhile(err error) error {
	if manifest.KindOf(err) != manifest.KindStale {
		return err
	}
	return manifest.Fail(manifest.KindDrift, "check host", "%w", err).Advise("see what is there with clara-push status, then run the same command again")
}

// once lists deeds without those that name a thing again.
func once(deeds []deed) []deed {
	seen := map[key]bool{}
	return slices.DeleteFunc(deeds, func(d deed) bool {
		again := seen[d.key]
		seen[d.key] = true
		return again
	})
}

// unplanned adds to err what went wrong when its traces were removed.
func unplanned(err, clearing error) error {
	if clearing != nil {
		return fmt.Errorf("%w (and then: %w)", err, clearing)
	}
	return err
}

// toTakeBack lists the pushes of names and models that a rollback is about.
func (h *Host) toTakeBack(past *history, what manifest.Selection) ([]deed, error) {
	if what.Empty() {
		deeds := past.lastPush()
		if len(deeds) == 0 {
			return nil, manifest.Fail(manifest.KindNotFound, "roll back", "no push and no load is on record that could be taken back")
		}
		return deeds, h.reach(deeds)
	}
	var deeds []deed
	for _, ref := range what.Images {
		k, err := past.image(ref)
		if err != nil {
			return nil, err
		}
		last := past.stories[k].last()
		if last == nil {
			return nil, manifest.Fail(manifest.KindNotFound, "roll back "+ref, "no push of it is on record that could be taken back")
		}
		deeds = append(deeds, *last)
	}
	for _, name := range what.Models {
		d, err := h.lastPlaced(past, name)
		if err != nil {
			return nil, err
		}
		deeds = append(deeds, d)
	}
	deeds = once(deeds)
	return deeds, h.reach(deeds)
}

// image finds a name in the history, with or without its tag.
func (t *history) image(ref string) (key, error) {
	for _, k := range []key{{name: ref}, {name: ref + ":latest"}} {
		if t.stories[k] != nil {
			return k, nil
		}
	}
	return key{}, manifest.Fail(manifest.KindNotFound, "read receipts", "no receipt on this host speaks of the image %s", manifest.Plain(ref)).
		Advise("clara-push status lists what was placed")
}

// lastPlaced is the last placement of a model. What is kept beside the repository counts even where no receipt tells of it.
func (h *Host) lastPlaced(past *history, name string) (deed, error) {
	if err := h.models.usable(); err != nil {
		return deed{}, err
	}
	if err := manifest.CheckModelName(name); err != nil {
		return deed{}, err
	}
	last := past.stories[h.modelKey(name)].last()
	formers, err := h.models.repo.formers(name)
	if err != nil {
		return deed{}, modelFailure("roll back model "+name, err)
	}
	if n := len(formers); last == nil || n > 0 && formers[n-1].receipt() > last.receipt { // receipts sort by time
		return deed{key: h.modelKey(name)}, nil
	}
	return *last, nil
}

func (h *Host) modelKey(name string) key { return key{h.models.repo.id(), name} }

// reach makes sure that this host can be worked on in all that deeds speak of.
func (h *Host) reach(deeds []deed) error {
	for _, d := range deeds {
		switch {
		case d.repository == "":
			if h.engine == nil {
				return h.noEngine()
			}
		case h.models == nil || h.models.repo.id() != d.repository:
			return manifest.Fail(manifest.KindUsage, "", "model %s lies in %s, and another repository is named", d.name, d.repository).
				Advise("add --repository %s", quoted(d.repository))
		default:
			if err := h.models.usable(); err != nil {
				return err
			}
		}
	}
	return nil
}

// imageBack works out how the name of d goes back to the former image, and proves that this is whole.
func (h *Host) imageBack(ctx context.Context, d deed, force bool, ev manifest.Events) (imageFlip, error) {
	step := "roll back " + d.name
	now, err := h.engine.ID(ctx, d.name)
	if err != nil {
		return imageFlip{}, err
	}
	if !d.changed {
		s := h.stateOf(ctx, now)
		return imageFlip{Keep: untouched, Done: manifest.Done{
			Ref: d.name, Action: manifest.ActionFormer, Before: s, After: s, Undoes: d.receipt, Proof: []string{"what is taken back had left it as it was"},
		}}, nil
	}
	placed, former := d.image.After, d.image.Before
	if now != placed.ID && now != former.ID && !force {
		return imageFlip{}, manifest.Fail(manifest.KindDrift, step, "the name was moved since: it points at %s, placed was %s", orNothing(now), placed.ID).
			Advise("docker tag %s %s makes it as it was placed; or go back all the same with --force", placed.ID, d.name)
	}
	f := imageFlip{Keep: untouched, Done: manifest.Done{
		Ref: d.name, Action: manifest.ActionFormer, Before: h.stateOf(ctx, now), Undoes: d.receipt,
	}}
	if former.ID == "" {
		f.Done.Proof = []string{"nothing bore the name before"}
		return f, nil
	}
	id, keeper, err := h.findFormer(ctx, d.image)
	if err != nil {
		return f, err
	}
	f.Spent = keeper
	p, want, err := h.proveFormer(ctx, id, d.image, ev)
	if err != nil {
		return f, err
	}
	f.Want, f.Done.Proof = want, p.proof
	f.Done.After = manifest.State{ID: p.image.ID, Config: p.image.Config.Digest, Manifest: p.image.Manifest.Digest}
	return f, nil
}

func orNothing(id string) string {
	if id == "" {
		return "nothing"
	}
	return id
}

// findFormer finds the image that a push replaced: by the name that kept it, else by its ID. keeper is empty when it has no
// such name.
func (h *Host) findFormer(ctx context.Context, d manifest.Done) (id, keeper string, err error) {
	if d.Keeper != "" {
		if id, err = h.engine.ID(ctx, d.Keeper); err != nil {
			return "", "", err
		}
		if id == d.Before.ID {
			return id, d.Keeper, nil
		}
	}
	if id, err = h.engine.ID(ctx, d.Before.ID); err == nil && id == "" {
		err = manifest.Fail(manifest.KindNotFound, "roll back "+d.Ref, "the former image %s is not kept any more", d.Before.ID).
			Advise("push or load what you want; how many former images are kept is said by --keep")
	}
	return id, "", err
}

func (h *Host) proveFormer(ctx context.Context, id string, d manifest.Done, ev manifest.Events) (placed, identity, error) {
	img, err := h.engine.Image(ctx, id, manifest.Platform{})
	if err != nil {
		return placed{}, identity{}, notWhole(d.Ref, err)
	}
	want := identity{Ref: d.Ref, Platform: img.Platform, Config: d.Before.Config, Manifest: d.Before.Manifest, DiffIDs: img.DiffIDs}
	if want.Config == "" { // the engine could not tell then
		want.Config = img.Config.Digest
		want.Manifest = manifest.Digest(d.Before.ID)
	}
	p, err := h.prove(ctx, id, want, ev)
	return p, want, notWhole(d.Ref, err)
}

// notWhole says of a former image that it cannot be used; nil stays nil.
func notWhole(ref string, err error) error {
	if k := manifest.KindOf(err); k == manifest.KindStale || k == manifest.KindNotFound {
		return manifest.Fail(manifest.KindNotFound, "roll back "+ref, "the former image is not there whole: %w", err).Advise("push or load what you want")
	}
	return err
}
