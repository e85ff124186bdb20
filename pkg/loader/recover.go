//go:build linux

package loader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// recover completes what processes that died had begun, unless a live one is at work.
func (h *Host) recover(ctx context.Context) error {
	ids, err := h.journals()
	if err != nil || len(ids) == 0 {
		return err // and nobody is kept waiting
	}
	l, err := tryLock(filepath.Join(h.dir, "lock"))
	if l == nil || err != nil {
		return err
	}
	defer l.Release()
	if h.models.usable() == nil {
		if l.beside, err = tryLock(h.models.lockPath()); l.beside == nil || err != nil {
			return err
		}
	}
	_, err = h.goForward(ctx)
	return err
}

// goForward completes, under the lock, everything whose journal is there, and reports whether there was any. What cannot be done
// now, because the engine or the repository is out of reach, stays for a later start.
func (h *Host) goForward(ctx context.Context) (any bool, err error) {
	ids, err := h.journals()
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		j, err := h.readJournal(id)
		if err != nil {
			if err := h.unread(id, err); err != nil {
				return any, err
			}
			continue
		}
		if _, err := h.ReceiptByID(id); manifest.KindOf(err) == manifest.KindNotFound {
			if err := h.complete(ctx, j); err != nil {
				h.say(fmt.Sprintf("what was interrupted (%s) could not be completed yet: %v", id, err))
				continue
			}
			any = true
		}
		if err := h.forget(id); err != nil {
			return any, stageFailure("end journal", err)
		}
	}
	return any, nil
}

// unread deals with a journal that could not be read. One that is none goes aside; else it may be readable later.
func (h *Host) unread(id string, why error) error {
	if errors.Is(why, fs.ErrNotExist) {
		return nil // somebody has ended it this moment
	}
	if !errors.Is(why, errNoJournal) {
		return stageFailure("read journal", why)
	}
	aside := h.journalPath(id) + ".broken" // which nobody takes for a journal
	if err := os.Rename(h.journalPath(id), aside); err != nil {
		return stageFailure("put journal aside", err)
	}
	h.say(fmt.Sprintf("a change that was interrupted cannot be completed, if there was one: %v; what was there is now %s", why, aside))
	return nil
}

// complete makes the flips of j that were not made, says in the receipt which could not be, and writes it. It fails when
// something is out of reach.
func (h *Host) complete(ctx context.Context, j *journal) error {
	r := j.Receipt
	r.Completed = true
	m, unlock, err := h.reachAll(j)
	if err != nil {
		return err
	}
	defer unlock()
	for _, f := range j.Images {
		if err := h.completeImage(ctx, f, &r); err != nil {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s was left in the middle, and could not be completed: %v", f.Done.Ref, err))
		}
	}
	if len(j.Models) > 0 {
		if err := h.completeModels(m, j.Models, &r); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("what was interrupted (receipt %s) was completed by the next start", r.ID)
	h.say(append([]string{text}, r.Warnings[len(j.Receipt.Warnings):]...)...)
	r.Warnings = append(r.Warnings, text)
	if h.record(&r); r.Path == "" {
		return errors.New(r.Warnings[len(r.Warnings)-1])
	}
	return nil
}

// reachAll makes sure that the engine and the repository of j can be worked on; the repository is locked until unlock.
func (h *Host) reachAll(j *journal) (m *models, unlock func(), err error) {
	unlock = func() {}
	if len(j.Images) > 0 {
		was := j.Receipt.Engine
		if now := h.Engine(); now.Name != was.Name || now.Root != was.Root || now.Store != was.Store {
			return nil, unlock, fmt.Errorf("it is about the engine %s with its data in %s", was.Name, was.Root)
		}
	}
	if len(j.Models) == 0 {
		return nil, unlock, nil
	}
	m, err = h.modelsAt(j.Receipt.Repository)
	if err == nil {
		err = m.usable()
	}
	if err != nil || m == h.models {
		return m, unlock, err
	}
	l, err := tryLock(m.lockPath())
	if err == nil && l == nil {
		err = fmt.Errorf("somebody else is at work in %s", m.repo.path)
	}
	if err != nil {
		return nil, unlock, err
	}
	return m, l.Release, nil
}

// completeImage moves one name, if that was not done yet and it still points where it did, or nowhere: a containerd store
// takes a name away before it gives it anew, and the engine may have died in between.
func (h *Host) completeImage(ctx context.Context, f imageFlip, r *manifest.Receipt) error {
	d := f.Done
	now, err := h.settledID(ctx, d)
	if err != nil {
		return err
	}
	if now == d.After.ID || !d.Changed() { // only its tidying up may be left
		if now == "" && d.Before.ID != "" {
			if err := h.takenAway(ctx, &d, r); err != nil {
				return err
			}
		}
		r.Images = append(r.Images, d)
		if d.Changed() || d.Action == manifest.ActionRemove {
			h.clearKeepers(ctx, f, d, r)
		}
		return nil
	}
	if now != d.Before.ID && now != "" {
		return movedAway(d, now)
	}
	if d.After.ID != "" {
		if _, err := h.prove(ctx, d.After.ID, f.Want, nil); err != nil {
			return err
		}
	}
	return h.makeFlip(ctx, f, r, nil)
}

// A name that a living engine has taken away, to give it anew, is back after some milliseconds.
const (
	nameless  = 2 * time.Second
	lookAgain = 20 * time.Millisecond
)

// settledID says which image bears d's name, once the engine has carried out what a process that died asked it to. It is empty
// when none does for longer than that takes.
func (h *Host) settledID(ctx context.Context, d manifest.Done) (string, error) {
	for began := time.Now(); ; time.Sleep(lookAgain) {
		id, err := h.engine.ID(ctx, d.Ref)
		if err != nil || id != "" || d.Before.ID == "" || d.After.ID == "" || time.Since(began) > nameless {
			return id, err
		}
	}
}

// completeModels makes the steps of the repository's journal, and says of each model whether it is what it was to be.
func (h *Host) completeModels(m *models, flips []modelFlip, r *manifest.Receipt) error {
	said, err := m.repo.replay()
	if err != nil {
		return modelFailure("mend the repository", err)
	}
	m.said = append(m.said, said...)
	var made []modelFlip
	for _, f := range flips {
		if f.Step == nil || m.repo.is(*f.Step) {
			made = append(made, f)
			r.Models = append(r.Models, f.Done)
			continue
		}
		r.Warnings = append(r.Warnings, fmt.Sprintf("model %s was left in the middle, and could not be completed", f.Done.Name))
	}
	h.settle(m, made, r)
	return nil
}

// is reports whether the live entry is what the step makes it, after everything that came later.
func (r *repository) is(s step) bool {
	inode, err := inodeOf(s.Live)
	if errors.Is(err, os.ErrNotExist) {
		return s.Op == opOut
	}
	return err == nil && s.Inode != 0 && inode == s.Inode
}
