//go:build linux

package loader

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// The moments at which a placement or rollback can die, each with what has been done by then.
var moments = []struct {
	name string
	do   func(r *repository, p *placing) error
}{
	{"built", func(*repository, *placing) error { return nil }},
	{"recorded", func(r *repository, p *placing) error { return r.record(p.step) }},
	{"kept", func(r *repository, p *placing) error {
		return both(r.record(p.step), func() error { return keepFor(r, p) })
	}},
	{"between two renames", func(r *repository, p *placing) error {
		return both(both(r.record(p.step), func() error { return keepFor(r, p) }), func() error {
			if p.step.Op == opRenames {
				return moveNew(p.step.Live, p.step.Kept)
			}
			if p.step.Op == opReplace && p.step.Spent == "" {
				return clone(context.Background(), p.step.Live, p.step.Kept)
			}
			return nil
		})
	}},
	{"flipped", func(r *repository, p *placing) error {
		return both(both(r.record(p.step), func() error { return keepFor(r, p) }), p.step.flip)
	}},
	{"former moved", func(r *repository, p *placing) error {
		return both(both(both(r.record(p.step), func() error { return keepFor(r, p) }), p.step.flip), func() error {
			if p.step.Op == opExchange {
				return moveNew(p.step.Fresh, p.step.Kept)
			}
			return nil
		})
	}},
	{"cleared", func(r *repository, p *placing) error {
		return both(both(both(r.record(p.step), func() error { return keepFor(r, p) }), p.step.flip), func() error {
			journal, err := os.ReadFile(r.journalPath(p.step.Model))
			if err == nil {
				err = r.conclude(p.step)
			}
			if err == nil {
				err = os.WriteFile(r.journalPath(p.step.Model), journal, 0o600)
			}
			return err
		})
	}},
}

func both(err error, then func() error) error {
	if err != nil {
		return err
	}
	return then()
}

// keepFor writes the record of a placement; a rollback has none.
func keepFor(r *repository, p *placing) error {
	if p.step.Spent != "" {
		return nil
	}
	return r.keep(p.former)
}

// Whenever a push dies, the live tree is the old one or the new one; with renames it may be absent until the next start.
// That start mends it, with a newer time; the next push succeeds, and then a rollback.
func TestCrash(t *testing.T) {
	trees := map[string]tree{
		"file":        baseTree.with(tree{"config.pbtxt": "new"}),
		"file gone":   baseTree.with(tree{"labels.txt": ""}),
		"version":     baseTree.with(tree{"2/model.graphdef": "x", "2/more": "y"}),
		"version new": baseTree.with(tree{"3/model.graphdef": "x"}),
		"model":       baseTree.with(tree{"config.pbtxt": "new", "1/model.graphdef": "new"}),
		"create":      baseTree,
	}
	bothWays(t, func(t *testing.T, exchange bool) {
		for name, next := range trees {
			for _, m := range moments {
				t.Run(name+" "+m.name, func(t *testing.T) {
					p := newPlacer(t)
					if name != "create" {
						p.pushed("m", baseTree, manifest.Options{Keep: 1})
					}
					before, _ := newest(p.at("m"))
					h := p.open()
					contents := contentsOf(next)
					pl, err := plan(h, manifest.Options{Keep: 1, Exact: true}, contents, next.model("m"))
					if err == nil {
						err = send(h, pl, contents)
					}
					if err != nil {
						t.Fatal(err)
					}
					all, err := h.models.prepare(t.Context(), pl.Models, newReceiptID(before.AddDate(100, 0, 0)))
					if err == nil {
						err = m.do(h.models.repo, all[0])
					}
					if err != nil {
						t.Fatal(err)
					}
					h.Close()
					p.isEither("m", baseTree, next, !exchange || name == "create")
					h = p.open() // replays
					h.Close()
					p.isEither("m", baseTree, next, name == "create")
					flipped := slices.IndexFunc(moments, func(o struct {
						name string
						do   func(r *repository, p *placing) error
					}) bool {
						return o.name == m.name
					}) >= 4
					if flipped {
						p.holds("m", next)
						if now, _ := newest(p.at("m")); !now.After(before) {
							t.Errorf("after the replay the newest time is %v, it was %v", now, before)
						}
					}
					p.clean()
					p.pushed("m", next, manifest.Options{Keep: 1, Exact: true})
					p.holds("m", next)
					if name != "create" {
						p.holdsAfterRollback("m", baseTree)
					}
				})
			}
		}
	})
}

// A step that a journal wants made is made by the next start, whatever of it was done already.
func TestCrashCommitted(t *testing.T) {
	next := baseTree.with(tree{"config.pbtxt": "new"})
	bothWays(t, func(t *testing.T, _ bool) {
		for _, m := range moments[2:] {
			t.Run(m.name, func(t *testing.T) {
				p := newPlacer(t)
				p.pushed("m", baseTree, manifest.Options{Keep: 1})
				h := p.open()
				contents := contentsOf(next)
				pl, err := plan(h, manifest.Options{Keep: 1}, contents, next.model("m"))
				if err == nil {
					err = send(h, pl, contents)
				}
				if err != nil {
					t.Fatal(err)
				}
				all, err := h.models.prepare(t.Context(), pl.Models, "20990101T000000Z-00000000")
				if err == nil {
					all[0].step.Commit = p.repo // something that is there
					err = m.do(h.models.repo, all[0])
				}
				if err != nil {
					t.Fatal(err)
				}
				h.Close()
				p.open().Close()
				p.holds("m", next)
				p.clean()
				p.holdsAfterRollback("m", baseTree)
			})
		}
	})
}

// isEither checks that a live model is one of two trees, or where it may be, absent.
func (p *placer) isEither(name string, a, b tree, absent bool) {
	p.t.Helper()
	if !exists(p.at(name)) {
		if !absent {
			p.t.Errorf("the model is absent")
		}
		return
	}
	got := readTree(p.t, p.at(name))
	if !equalTrees(got, a) && !equalTrees(got, b) {
		p.t.Fatalf("the live tree is a mix: %v", short(got))
	}
}

func equalTrees(a, b tree) bool {
	if len(a) != len(b) {
		return false
	}
	for p, c := range a {
		if d, ok := b[p]; !ok || c != d {
			return false
		}
	}
	return true
}

// A push that finds a change left in the middle while it waited for the lock completes that first and plans anew.
func TestCrashWhileWaiting(t *testing.T) {
	t.Setenv(noExchange, "1")
	p := newPlacer(t)
	p.pushed("m", baseTree, manifest.Options{Keep: 1})
	next := tree{"config.pbtxt": "new", "1/model.graphdef": "new"}
	third := tree{"config.pbtxt": "third", "1/model.graphdef": "third"}
	a, b := p.open(), p.open()
	planA, errA := plan(a, manifest.Options{Keep: 1, Exact: true}, nil, next.model("m"))
	planB, errB := plan(b, manifest.Options{Keep: 1, Exact: true}, nil, third.model("m"))
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if err := send(a, planA, contentsOf(next)); err != nil {
		t.Fatal(err)
	}
	all, err := a.models.prepare(t.Context(), planA.Models, "20990101T000000Z-00000000")
	if err != nil {
		t.Fatal(err)
	}
	if err := moments[3].do(a.models.repo, all[0]); err != nil { // between two renames
		t.Fatal(err)
	}
	a.Close()
	if _, err := carryOut(b, planB, contentsOf(third)); manifest.KindOf(err) != manifest.KindStale {
		t.Fatalf("it says %v", err)
	}
	p.holds("m", next)
	b.Close()
	p.pushed("m", third, manifest.Options{Keep: 1, Exact: true})
	p.holds("m", third)
}

// A journal that was not written to its end is put aside.
func TestBrokenJournal(t *testing.T) {
	p := newPlacer(t)
	p.pushed("m", baseTree, manifest.Options{})
	for name, text := range map[string]string{"m.json": `{"model": "m", "op"`, ".m.json123": "", "x.json": `{"model":"../../m","live":"/etc/passwd"}`} {
		if err := os.WriteFile(p.own("journal", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.pushed("m", baseTree.with(tree{"config.pbtxt": "n"}), manifest.Options{})
	p.holds("m", baseTree.with(tree{"config.pbtxt": "n"}))
	for _, name := range []string{"m.json.broken", "x.json.broken"} {
		if !exists(p.own(name)) {
			t.Errorf("%s is not there", name)
		}
	}
}

// Rollbacks that die are completed or taken back as well.
func TestCrashOfRollback(t *testing.T) {
	old, now := baseTree, baseTree.with(tree{"config.pbtxt": "new", "1/model.graphdef": strings.Repeat("new", 100)})
	bothWays(t, func(t *testing.T, exchange bool) {
		for _, m := range moments[1:] {
			t.Run(m.name, func(t *testing.T) {
				p := newPlacer(t)
				p.pushed("m", old, manifest.Options{Keep: 2})
				p.pushed("m", now, manifest.Options{Keep: 2})
				before := p.newestOf("m")
				h := p.open()
				r := h.models.repo
				all, err := r.formers("m")
				if err != nil || len(all) != 2 {
					t.Fatal(all, err)
				}
				s, err := r.wayBack(all[1])
				if err == nil {
					err = m.do(r, &placing{step: s})
				}
				if err != nil {
					t.Fatal(err)
				}
				h.Close()
				p.isEither("m", old, now, !exchange)
				p.open().Close()
				p.isEither("m", old, now, false)
				p.clean()
				if equalTrees(readTree(t, p.at("m")), old) {
					if after := p.newestOf("m"); !after.After(before) {
						t.Errorf("the newest time is %v, it was %v", after, before)
					}
				} else {
					p.holdsAfterRollback("m", old)
				}
				if got := p.kept("m"); got != 1 {
					t.Errorf("%d are kept", got)
				}
			})
		}
	})
}
