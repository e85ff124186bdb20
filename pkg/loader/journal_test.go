//go:build linux

package loader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// dies runs an apply or rollback that dies, as if it was killed, right before its n-th step: what it defers runs, which the
// loader uses for nothing that a crash must not skip.
func dies(n int, run func(ev manifest.Events)) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run(func(e manifest.Event) {
			if e.Step == manifest.StepPlace || e.Step == manifest.StepTag {
				if n--; n < 0 {
					runtime.Goexit()
				}
			}
		})
	}()
	<-ended
}

// several is a push of three models over one that is there.
type several struct {
	*placer
	old, next map[string]tree
}

func newSeveral(t testing.TB) *several {
	s := &several{placer: newPlacer(t), old: map[string]tree{"a": baseTree}, next: map[string]tree{
		"a": baseTree.with(tree{"config.pbtxt": "new", "1/model.graphdef": "new"}),
		"b": baseTree.with(tree{"labels.txt": "b", "1/large": strings.Repeat("large", 100_000)}),
		"c": {"config.pbtxt": "c", "1/": ""},
	}}
	s.pushed("a", baseTree, manifest.Options{Keep: 1})
	return s
}

// staged opens the host and stages the push.
func (s *several) staged() (*Host, manifest.Plan) {
	s.t.Helper()
	h := s.open()
	contents := contentsOf(slices.Collect(maps.Values(s.next))...)
	p, err := plan(h, manifest.Options{Keep: 1}, contents, s.next["c"].model("c"), s.next["a"].model("a"), s.next["b"].model("b"))
	if err == nil {
		err = send(h, p, contents)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return h, p
}

// order is the order in which the push places its models.
var order = []string{"c", "a", "b"}

// stands checks that the models of names are as the push makes them and all others as they were.
func (s *several) stands(names ...string) {
	s.t.Helper()
	for _, name := range order {
		want := s.old[name]
		if slices.Contains(names, name) {
			want = s.next[name]
		}
		if want == nil {
			if exists(s.at(name)) {
				s.t.Errorf("%s is there", name)
			}
			continue
		}
		s.holds(name, want)
	}
}

// lastReceipt is the newest receipt, and what this start says.
func (s *several) lastReceipt(h *Host) (manifest.Receipt, string) {
	s.t.Helper()
	r, err := h.LastReceipt()
	if err != nil {
		s.t.Fatal(err)
	}
	return r, strings.Join(append(h.said, h.models.said...), "\n")
}

// Wherever a push of several models dies, each is wholly old or wholly new, and the next start completes it.
func TestCrashOfSeveral(t *testing.T) {
	bothWays(t, func(t *testing.T, _ bool) {
		for n := range len(order) {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				s := newSeveral(t)
				h, p := s.staged()
				p.Session = "session"
				dies(n, func(ev manifest.Events) { _, _ = h.Apply(t.Context(), p, nil, func() {}, ev) })
				h.Close()
				s.stands(order[:n]...)
				h = s.open()
				s.stands(order...)
				s.clean()
				r, said := s.lastReceipt(h)
				if !r.Completed || len(r.Models) != 3 || r.Session != "session" || !strings.Contains(said, r.ID) {
					t.Errorf("it says %q, and the receipt %+v", said, r)
				}
				if left, err := h.journals(); err != nil || len(left) > 0 {
					t.Errorf("journals %v, %v", left, err)
				}
				if r.Models[1].Before == "" || r.Models[1].After == "" {
					t.Errorf("the receipt does not tell the digests: %+v", r.Models[1])
				}
				r, err := h.Rollback(t.Context(), manifest.Selection{}, Owner{}, nil)
				if err != nil || r.Act != manifest.ActRollback {
					t.Fatalf("%+v, %v", r, err)
				}
				s.stands()
				s.clean()
			})
		}
	})
}

// Wherever a rollback of several models dies, the next start completes it.
func TestCrashOfRollbackOfSeveral(t *testing.T) {
	bothWays(t, func(t *testing.T, _ bool) {
		for n := range len(order) {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				s := newSeveral(t)
				h, p := s.staged()
				if _, err := h.Apply(t.Context(), p, nil, func() {}, nil); err != nil {
					t.Fatal(err)
				}
				dies(n, func(ev manifest.Events) { _, _ = h.Rollback(t.Context(), manifest.Selection{}, Owner{}, ev) })
				h.Close()
				s.stands(order[:len(order)-n]...) // from the last one backwards
				h = s.open()
				s.stands()
				s.clean()
				if r, _ := s.lastReceipt(h); !r.Completed || r.Act != manifest.ActRollback || len(r.Models) != 3 {
					t.Errorf("receipt %+v", r)
				}
			})
		}
	})
}

// What cannot be completed is said, and the rest goes on.
func TestCrashThatCannotBeCompleted(t *testing.T) {
	for name, meddle := range map[string]func(t *testing.T, s *several){
		"changed": func(t *testing.T, s *several) {
			if err := os.WriteFile(filepath.Join(s.at("a"), "config.pbtxt"), []byte("by hand"), fileMode); err != nil {
				t.Fatal(err)
			}
			s.old["a"] = baseTree.with(tree{"config.pbtxt": "by hand"})
		},
		"lost": func(t *testing.T, s *several) {
			if err := os.RemoveAll(s.own("trees", "a")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSeveral(t)
			h, p := s.staged()
			dies(1, func(ev manifest.Events) { _, _ = h.Apply(t.Context(), p, nil, func() {}, ev) })
			h.Close()
			meddle(t, s)
			h = s.open()
			s.stands("c", "b")
			s.clean()
			r, said := s.lastReceipt(h)
			text := strings.Join(r.Warnings, "\n")
			if len(r.Models) != 2 || !strings.Contains(text, "model a was left in the middle") || !strings.Contains(said, "model a: an interrupted change could not be completed") {
				t.Errorf("it says %q, and the receipt %+v", said, r)
			}
		})
	}
}

// Before the journal is written nothing counts.
func TestCrashBeforeTheJournal(t *testing.T) {
	s := newSeveral(t)
	h, p := s.staged()
	r := h.newReceipt(p)
	flips, err := h.prepare(t.Context(), p, &r)
	if err == nil {
		err = h.models.ready(flips, h.journalPath(r.ID))
	}
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	h = s.open()
	s.stands()
	if _, err := h.Sweep(t.Context(), 0); err != nil {
		t.Error(err)
	}
	s.clean()
	if last, _ := s.lastReceipt(h); last.ID >= r.ID {
		t.Errorf("there is a receipt: %+v", last)
	}
}

// A step that fails leaves those before it, takes those behind it back, and nothing for the next start.
func TestStepFails(t *testing.T) {
	s := newSeveral(t)
	h, p := s.staged()
	inTheWay := func(e manifest.Event) {
		if e.Step == manifest.StepPlace && e.Ref == "b" {
			if err := os.Mkdir(s.at("b"), dirMode); err != nil {
				t.Error(err)
			}
		}
	}
	r, err := h.Apply(t.Context(), p, nil, func() {}, inTheWay)
	if !errors.Is(err, os.ErrExist) || len(r.Models) != 2 || r.Path == "" {
		t.Errorf("%v, receipt %+v", err, r)
	}
	if err := os.Remove(s.at("b")); err != nil {
		t.Fatal(err)
	}
	h.Close()
	h = s.open()
	s.stands("c", "a")
	if left, _ := h.journals(); len(left) > 0 || len(h.said) > 0 {
		t.Errorf("left %v, said %v", left, h.said)
	}
}

// A receipt that could not be written is written by the next start.
func TestReceiptIsWrittenLater(t *testing.T) {
	s := newSeveral(t)
	h, p := s.staged()
	hidden := h.receiptDir() + ".hidden"
	if err := errors.Join(os.Rename(h.receiptDir(), hidden), os.WriteFile(h.receiptDir(), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	r, err := h.Apply(t.Context(), p, nil, func() {}, nil)
	if err != nil || r.Path != "" || len(r.Warnings) == 0 {
		t.Errorf("%v, receipt %+v", err, r)
	}
	h.Close()
	if err := errors.Join(os.Remove(h.receiptDir()), os.Rename(hidden, h.receiptDir())); err != nil {
		t.Fatal(err)
	}
	h = s.open()
	s.stands(order...)
	if last, _ := s.lastReceipt(h); last.ID != r.ID || len(last.Models) != 3 {
		t.Errorf("receipt %+v", last)
	}
}

// A journal is left alone while somebody is at work, and while what it is about is out of reach.
func TestJournalWaits(t *testing.T) {
	s := newSeveral(t)
	h, p := s.staged()
	dies(0, func(ev manifest.Events) { _, _ = h.Apply(t.Context(), p, nil, func() {}, ev) })
	lock, err := h.lock(t.Context(), Owner{From: "test"}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.open()
	s.stands()
	lock.Release()
	away := s.repo + ".away"
	if err := os.Rename(s.repo, away); err != nil {
		t.Fatal(err)
	}
	without, err := Open(t.Context(), Options{NoEngine: true, StateDir: filepath.Join(s.dir, "state")})
	if err != nil {
		t.Fatal(err)
	}
	without.Close()
	if text := strings.Join(without.said, "\n"); !strings.Contains(text, "could not be completed yet") {
		t.Errorf("it says %q", text)
	}
	if err := os.Rename(away, s.repo); err != nil {
		t.Fatal(err)
	}
	without, err = Open(t.Context(), Options{NoEngine: true, StateDir: filepath.Join(s.dir, "state")})
	if err != nil {
		t.Fatal(err)
	}
	without.Close()
	s.stands(order...) // it needs no --repository: the journal names it
	h.Close()
}

// A journal stays while it cannot be read; one that was read and is none is put aside, with a warning.
func TestJournalUnread(t *testing.T) {
	s := newSeveral(t)
	h, p := s.staged()
	dies(1, func(ev manifest.Events) { _, _ = h.Apply(t.Context(), p, nil, func() {}, ev) })
	h.Close()
	o := Options{NoEngine: true, StateDir: filepath.Join(s.dir, "state"), Repository: s.repo}
	ids, err := h.journals()
	if err != nil || len(ids) != 1 {
		t.Fatalf("journals %v, %v", ids, err)
	}
	path := h.journalPath(ids[0])
	raw, err := os.ReadFile(path)
	if err == nil {
		err = errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) // reading it fails, for root too
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), o); err == nil || !exists(path) {
		t.Errorf("it says %v; the journal is there: %v", err, exists(path))
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, raw[:len(raw)-1], 0o600)); err != nil {
		t.Fatal(err)
	}
	h = s.open()
	if exists(path) || !exists(path+".broken") || !strings.Contains(strings.Join(h.said, "\n"), path+".broken") {
		t.Errorf("it is not put aside, or it says %q", h.said)
	}
	s.stands(order[:1]...)
	s.clean()
}

// A push that waited for the lock of one that died completes that first, and then must plan anew.
func TestLockCompletes(t *testing.T) {
	s := newSeveral(t)
	h, p := s.staged()
	waiting := s.open()
	dies(1, func(ev manifest.Events) { _, _ = h.Apply(t.Context(), p, nil, func() {}, ev) })
	h.Close()
	lock, err := waiting.Lock(context.Background(), Owner{From: "test"}, time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	s.stands(order...)
	if manifest.KindOf(lock.Stale()) != manifest.KindStale {
		t.Error("the lock says that nothing has happened")
	}
}
