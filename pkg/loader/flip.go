//go:build linux

package loader

import (
	"context"
	"fmt"
	"slices"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// imageFlip is one name that is moved, given or taken away; or that a receipt only mentions.
type imageFlip struct {
	// Done is what the receipt will say. Before is what must bear the name when it is moved, After what shall; without an
	// ID in After the name is taken away.
	Done manifest.Done `json:"done"`
	Want identity      `json:"want,omitzero"` // what After must prove to be when the flip is made later
	// Keep is how many former images stay reachable; Untouched leaves them as they are. Spent is a name of one that has no
	// use afterwards.
	Keep  int    `json:"keep"`
	Spent string `json:"spent,omitempty"`
}

// untouched, as a number to keep, lets what is kept of former states alone.
const untouched = -1

// carryOut makes the changes of j, one after the other, and writes the receipt. Nothing has changed when it fails before
// commit, which it calls right before the journal is written; after that ctx counts no more. When a flip fails, those that come
// later are not made; what was done is in the receipt.
func (h *Host) carryOut(ctx context.Context, j *journal, commit func(), ev manifest.Events) (manifest.Receipt, error) {
	receipt := j.Receipt
	err := ctx.Err()
	if err == nil && j.changes() {
		err = h.ready(j)
	}
	if err == nil {
		commit()
		if j.changes() {
			err = h.write(j)
		}
	}
	if err != nil {
		_ = h.forget(receipt.ID)
		h.models.abandon(j.Models)
		return receipt, err
	}
	err = h.flip(context.WithoutCancel(ctx), j, &receipt, ev)
	if len(receipt.Images)+len(receipt.Models) > 0 {
		h.record(&receipt)
	}
	if err != nil || receipt.Path != "" { // else the next start writes the receipt
		_ = h.forget(receipt.ID)
	}
	return receipt, err
}

// ready prepares the models' steps; none is made.
func (h *Host) ready(j *journal) error {
	if len(j.Models) == 0 {
		return nil
	}
	return h.models.ready(j.Models, h.journalPath(j.Receipt.ID))
}

func (h *Host) flip(ctx context.Context, j *journal, r *manifest.Receipt, ev manifest.Events) error {
	for _, f := range j.Images {
		if err := h.flipImage(ctx, f, r, ev); err != nil {
			h.models.abandon(j.Models)
			return err
		}
	}
	if len(j.Models) == 0 {
		return nil
	}
	if err := h.models.flip(j.Models, r, ev); err != nil {
		h.models.abandon(j.Models)
		return err
	}
	h.settle(h.models, j.Models, r)
	return nil
}

// flipImage moves one name, if it still points at what it did.
func (h *Host) flipImage(ctx context.Context, f imageFlip, r *manifest.Receipt, ev manifest.Events) error {
	d := f.Done
	if !d.Changed() {
		r.Images = append(r.Images, d)
		if d.Action == manifest.ActionRemove {
			h.clearKeepers(ctx, f, d, r)
		}
		return nil
	}
	now, err := h.engine.ID(ctx, d.Ref)
	if err != nil {
		return err
	}
	if now != d.Before.ID {
		return movedAway(d, now)
	}
	return h.makeFlip(ctx, f, r, ev)
}

// makeFlip moves one name, whatever bears it, and keeps the former image reachable first.
func (h *Host) makeFlip(ctx context.Context, f imageFlip, r *manifest.Receipt, ev manifest.Events) (err error) {
	d := f.Done
	if d.Before.ID != "" {
		if d.Stale, err = h.running(ctx, d.Before.ID); err != nil {
			return err
		}
	}
	if d.Keeper != "" {
		if err := h.engine.Tag(ctx, d.Before.ID, d.Keeper); err != nil {
			return moved(d.Ref, err)
		}
	}
	ev.Say(manifest.StepTag, d.Ref, naming(d))
	if d.After.ID == "" {
		err = h.takeAway(ctx, &d, r)
	} else {
		err = h.move(ctx, d.Ref, d.After.ID)
	}
	if err != nil {
		return err
	}
	r.Images = append(r.Images, d)
	h.clearKeepers(ctx, f, d, r)
	return nil
}

func naming(d manifest.Done) string {
	if d.After.ID == "" {
		return "taking the name away"
	}
	return "naming " + d.After.ID
}

func movedAway(d manifest.Done, now string) error {
	return manifest.Fail(manifest.KindStale, "name "+d.Ref, "somebody else moved the name meanwhile: from %q to %q", d.Before.ID, now)
}

// takeAway takes a name away. The image goes with its last name; one that a container uses stays under a name of ours,
// which becomes d's keeper.
func (h *Host) takeAway(ctx context.Context, d *manifest.Done, r *manifest.Receipt) error {
	users, err := h.usersOf(ctx, d.Before.ID)
	if err != nil {
		return err
	}
	names, err := h.namesOf(ctx, d.Before.ID)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == d.Ref || keeps(n, d.Ref) })
	if len(users) > 0 && len(names) == 0 {
		d.Keeper = keeperName(d.Ref, d.Before)
		if err := h.engine.Tag(ctx, d.Before.ID, d.Keeper); err != nil {
			return moved(d.Ref, err)
		}
		r.Warnings = append(r.Warnings, usedBy(*d, users[0]))
	}
	return h.engine.Untag(ctx, d.Ref)
}

func usedBy(d manifest.Done, user manifest.Container) string {
	return fmt.Sprintf("the image of %s stays as %s, because container %s uses it; remove both with docker rm and docker rmi", d.Ref, d.Keeper, user.Name)
}

// takenAway finds out, for a name that a process which died has taken away, under which name of ours the image stays.
func (h *Host) takenAway(ctx context.Context, d *manifest.Done, r *manifest.Receipt) error {
	users, err := h.usersOf(ctx, d.Before.ID)
	if err != nil || len(users) == 0 {
		return err
	}
	keeper := keeperName(d.Ref, d.Before)
	id, err := h.engine.ID(ctx, keeper)
	if err == nil && id == d.Before.ID {
		d.Keeper = keeper
		r.Warnings = append(r.Warnings, usedBy(*d, users[0]))
	}
	return err
}

// clearKeepers takes away the names of former images that have no use any more.
func (h *Host) clearKeepers(ctx context.Context, f imageFlip, d manifest.Done, r *manifest.Receipt) {
	switch {
	case f.Spent != "":
		if err := h.engine.Untag(ctx, f.Spent); err != nil && manifest.KindOf(err) != manifest.KindNotFound {
			r.Warnings = append(r.Warnings, fmt.Sprintf("the name %s stays: %s", f.Spent, err))
		}
	case f.Keep != untouched:
		keep := f.Keep
		if d.After.ID == "" && d.Keeper != "" {
			keep = 1 // the one that a container uses
		}
		r.Warnings = append(r.Warnings, h.dropKeepers(ctx, d.Ref, keep, d.Keeper)...)
	}
}
