//go:build linux

package loader

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// modelFlip is one model that changes, or that a receipt only mentions.
type modelFlip struct {
	Done manifest.DoneModel `json:"done"` // what the receipt will say
	Step *step              `json:"step,omitempty"`
	// Keep is how many former states stay; untouched leaves them as they are.
	Keep int `json:"keep"`
	// Spent is a folder that has no use afterwards; empty for none.
	Spent string `json:"spent,omitempty"`

	former *former   // to be written down before the step is made; nil for none
	placed time.Time // when the step was made; zero when another process made it
}

// ready writes all steps into the journal; they count once the file commit is there. No live tree is touched.
func (m *models) ready(flips []modelFlip, commit string) error {
	for n, f := range flips {
		if f.Step == nil {
			continue
		}
		f.Step.Commit, f.Step.Order = commit, n
		err := m.repo.record(*f.Step)
		if err == nil && f.former != nil {
			err = m.repo.keep(*f.former)
		}
		if err != nil {
			return modelFailure("place model "+f.Step.Model, err)
		}
	}
	return nil
}

// abandon forgets the steps that were not made.
func (m *models) abandon(flips []modelFlip) {
	for _, f := range flips {
		if f.Step != nil && exists(m.repo.journalPath(f.Step.Model)) {
			_, _ = m.repo.replayOne(*f.Step, false) // else the next start does it
		}
	}
	_ = m.scrap(flips)
}

// scrap removes what was built and will not be placed.
func (m *models) scrap(flips []modelFlip) error {
	if len(flips) == 0 {
		return nil
	}
	return m.repo.clearTrees()
}

// flip makes the steps, one model after the other, and notes each in the receipt.
func (m *models) flip(flips []modelFlip, r *manifest.Receipt, ev manifest.Events) error {
	for i, f := range flips {
		if f.Step != nil {
			ev.Say(manifest.StepPlace, f.Step.Model, "placing")
			if err := m.repo.make(*f.Step); err != nil {
				return modelFailure("place model "+f.Step.Model, err)
			}
			flips[i].placed = time.Now()
		}
		r.Models = append(r.Models, f.Done)
	}
	return modelFailure("sync", m.repo.sync())
}

// make makes one recorded step and keeps the former state. The live tree changes in step.flip and nowhere else.
func (r *repository) make(s step) error {
	if err := s.flip(); err != nil {
		return r.unmade(s, err)
	}
	return r.conclude(s)
}

// unmade ends a step that failed: one of two renames may have been made, which is completed; else it is forgotten.
func (r *repository) unmade(s step, cause error) error {
	_, err := r.replayOne(s, false)
	return errors.Join(cause, err)
}

// settle prunes what is kept of flipped models and remembers what they are. The models are placed: what fails here is worth a
// warning.
func (h *Host) settle(m *models, flips []modelFlip, r *manifest.Receipt) {
	var errs []error
	for _, f := range flips {
		if f.Spent != "" {
			errs = append(errs, os.RemoveAll(f.Spent))
		}
		switch {
		case f.Done.Place == manifest.PlaceRemove:
			errs = append(errs, m.repo.forget(f.Done.Name, nil))
		case f.Keep != untouched && f.Done.Changed():
			errs = append(errs, m.repo.prune(f.Done.Name, f.Keep))
		}
		if f.Step == nil {
			continue
		}
		errs = append(errs, h.remember(m, f))
	}
	if err := errors.Join(errs...); err != nil {
		r.Warnings = append(r.Warnings, "the folder beside the repository was not cleared: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// remember notes the digests of a model that was just placed, so that the next look reads none of its files.
func (h *Host) remember(m *models, f modelFlip) error {
	d := f.Done
	if d.After == "" {
		return gone(os.Remove(m.repo.digestsPath(d.Name)))
	}
	l, err := h.listed(d.After)
	if err != nil {
		return gone(err)
	}
	return m.repo.seed(d.Name, d.Entry, l.Files, f.placed)
}
