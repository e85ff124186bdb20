//go:build linux

package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// points are where one step of several can be cut off, behind its beginning.
var points = []struct {
	name string
	do   func(r *repository, s step) error
}{
	{"before the step", func(*repository, step) error { return nil }},
	{"step made", func(_ *repository, s step) error { return s.flip() }},
	{"half concluded", func(r *repository, s step) error {
		journal, err := os.ReadFile(r.journalPath(s.Model))
		if err == nil {
			err = r.make(s)
		}
		return errors.Join(err, os.WriteFile(r.journalPath(s.Model), journal, 0o600))
	}},
	{"concluded", func(r *repository, s step) error { return r.make(s) }},
}

// Wherever a rollback or a removal of several models is cut off between its journal and its receipt, each model is wholly old or
// wholly new, and the next start completes it and says nothing else.
func TestCrashPointsOfChanges(t *testing.T) {
	changes := map[manifest.Act]func(h *Host, ev manifest.Events) error{
		manifest.ActRollback: func(h *Host, ev manifest.Events) error {
			_, err := h.Rollback(t.Context(), manifest.Selection{}, Owner{}, ev)
			return err
		},
		manifest.ActRemove: func(h *Host, ev manifest.Events) error {
			_, err := h.Remove(t.Context(), manifest.Selection{Models: order}, Owner{}, ev)
			return err
		},
	}
	bothWays(t, func(t *testing.T, _ bool) {
		for act, change := range changes {
			for n := range order {
				for _, p := range points {
					t.Run(fmt.Sprintf("%s %d %s", act, n, p.name), func(t *testing.T) { cutOff(t, act, change, n, p.do) })
				}
			}
		}
	})
}

// cutOff has a change of three models die at a point of its n-th step, and starts again.
func cutOff(t *testing.T, act manifest.Act, change func(*Host, manifest.Events) error, n int, point func(*repository, step) error) {
	s := newSeveral(t)
	h, p := s.staged()
	if _, err := h.Apply(t.Context(), p, nil, func() {}, nil); err != nil {
		t.Fatal(err)
	}
	dies(n, func(ev manifest.Events) { _ = change(h, ev) })
	ids, err := h.journals()
	if err != nil || len(ids) != 1 {
		t.Fatalf("journals %v, %v", ids, err)
	}
	j, err := h.readJournal(ids[0])
	if err == nil {
		err = point(h.models.repo, *j.Models[n].Step)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.Close()

	h = s.open()
	if act == manifest.ActRemove {
		s.old = nil
	}
	s.stands()
	s.clean()
	r, said := s.lastReceipt(h)
	if !r.Completed || r.Act != act || len(r.Models) != len(order) {
		t.Errorf("the receipt is %+v", r)
	}
	if !strings.Contains(said, r.ID) || strings.Contains(said+strings.Join(r.Warnings, "\n"), "could not") {
		t.Errorf("it says %q, and in the receipt %q", said, r.Warnings)
	}
	if left, err := h.journals(); err != nil || len(left) > 0 {
		t.Errorf("journals %v, %v", left, err)
	}
	for _, name := range order {
		if act == manifest.ActRemove && s.kept(name) > 0 {
			t.Errorf("of %s something is kept", name)
		}
	}
}
