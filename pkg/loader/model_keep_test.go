//go:build linux

package loader

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func (p *placer) holdsAfterRollback(name string, want tree) {
	p.t.Helper()
	before := p.newestOf(name)
	r, err := p.rollback(name)
	if err != nil {
		p.t.Fatalf("rollback: %v", err)
	}
	if len(r.Models) != 1 || r.Path == "" || len(r.Warnings) > 0 {
		p.t.Errorf("receipt of the rollback: %+v", r)
	}
	p.holds(name, want)
	p.clean()
	if now := p.newestOf(name); !now.After(before) {
		p.t.Errorf("after the rollback the newest time is %v, it was %v", now, before)
	}
}

// A model that a push created is gone after its rollback; then there is nothing more to go back to.
func TestRollbackOfCreation(t *testing.T) {
	bothWays(t, func(t *testing.T, _ bool) {
		p := newPlacer(t)
		p.pushed("m", baseTree, manifest.Options{Keep: 1})
		if _, err := p.rollback("m"); err != nil {
			t.Fatal(err)
		}
		if left, _ := os.ReadDir(p.repo); len(left) > 0 {
			t.Errorf("the repository holds %v", left)
		}
		if _, err := p.rollback("m"); manifest.KindOf(err) != manifest.KindNotFound {
			t.Errorf("the second rollback says %v", err)
		}
		p.pushed("m", baseTree, manifest.Options{Keep: 1})
		p.holds("m", baseTree)
	})
}

// As many former states are kept as --keep says, and going back twice goes back twice.
func TestKeep(t *testing.T) {
	bothWays(t, func(t *testing.T, _ bool) {
		p := newPlacer(t)
		for n, config := range []string{"a", "b", "c", "d"} {
			p.pushed("m", baseTree.with(tree{"config.pbtxt": config, "labels.txt": config}), manifest.Options{Keep: 2})
			if got := p.kept("m"); got != min(n+1, 3) {
				t.Errorf("after %d pushes %d are kept", n+1, got)
			}
		}
		p.holdsAfterRollback("m", baseTree.with(tree{"config.pbtxt": "c", "labels.txt": "c"}))
		p.holdsAfterRollback("m", baseTree.with(tree{"config.pbtxt": "b", "labels.txt": "b"}))
		p.pushed("m", baseTree, manifest.Options{})
		if got := p.kept("m"); got != 1 {
			t.Errorf("with keep 0, %d are kept", got)
		}
	})
}

// That a model was not there before its first push is kept for good. It is gone back to only by who has taken back all that
// came later.
func TestKeepsNothing(t *testing.T) {
	p := newPlacer(t)
	push := func(config string) {
		p.pushed("m", baseTree.with(tree{"config.pbtxt": config}), manifest.Options{Keep: 1})
	}
	push("a")
	push("b")
	if _, err := p.rollback("m"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.rollback("m"); err != nil || exists(p.at("m")) {
		t.Fatalf("it is there, or %v", err)
	}
	for _, config := range []string{"a", "b", "c"} {
		push(config)
	}
	if _, err := p.rollback("m"); err != nil {
		t.Fatal(err)
	}
	s, err := p.open().Status(t.Context())
	if err != nil || s.Models[0].Back {
		t.Errorf("it promises a way back: %+v, %v", s.Models, err)
	}
	if _, err := p.rollback("m"); manifest.KindOf(err) != manifest.KindNotFound {
		t.Errorf("the former state was pruned, and it says %v", err)
	}
	if err := os.RemoveAll(filepath.Join(p.dir, "state", "receipts")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.rollback("m"); manifest.KindOf(err) != manifest.KindDrift {
		t.Errorf("without receipts it says %v", err)
	}
	p.holds("m", baseTree.with(tree{"config.pbtxt": "b"}))
}

// What a process left that was killed while it removed a former state is removed with the next one, whatever of it went first.
func TestPruneKilled(t *testing.T) {
	for _, went := range []string{formerRecord, "tree/config.pbtxt", "tree"} {
		p := newPlacer(t)
		for _, config := range []string{"a", "b"} {
			p.pushed("m", baseTree.with(tree{"config.pbtxt": config, "labels.txt": config}), manifest.Options{Keep: 2})
		}
		old, err := filepath.Glob(p.own("old", "m", "*"))
		if err != nil || len(old) != 2 {
			t.Fatalf("kept: %v, %v", old, err)
		}
		if err := os.RemoveAll(filepath.Join(slices.Min(old), went)); err != nil {
			t.Fatal(err)
		}
		p.pushed("m", baseTree.with(tree{"config.pbtxt": "c", "labels.txt": "c"}), manifest.Options{Keep: 1})
		if got := p.kept("m"); got != map[bool]int{true: 1, false: 2}[went == formerRecord] { // that there was nothing is kept
			t.Errorf("%s went first: %d are kept", went, got)
		}
		p.holdsAfterRollback("m", baseTree.with(tree{"config.pbtxt": "b", "labels.txt": "b"}))
	}
}

// A kept state that somebody changed is not put back.
func TestRollbackVerifies(t *testing.T) {
	p := newPlacer(t)
	p.pushed("m", baseTree, manifest.Options{Keep: 1})
	p.pushed("m", tree{"config.pbtxt": "x"}, manifest.Options{Keep: 1, Exact: true})
	files, _ := filepath.Glob(p.own("old", "m", "*", "tree", "1", "model.graphdef"))
	if len(files) != 1 {
		t.Fatal("nothing is kept")
	}
	if err := os.WriteFile(files[0], []byte("spoilt"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.rollback("m"); manifest.KindOf(err) != manifest.KindIntegrity {
		t.Errorf("the rollback says %v", err)
	}
	p.holds("m", tree{"config.pbtxt": "x"})
}

// A clock that was set back does not change what came last: that is kept, and taken back first.
func TestKeepWhenTheClockIsSetBack(t *testing.T) {
	p := newPlacer(t)
	ahead := manifest.Receipt{ID: newReceiptID(time.Now().Add(time.Hour)), Act: manifest.ActPush}
	p.open().record(&ahead)
	last := ahead.ID
	for _, config := range []string{"a", "b", "c"} {
		_, r := p.pushed("m", baseTree.with(tree{"config.pbtxt": config}), manifest.Options{Keep: 1})
		if r.ID <= last {
			t.Errorf("the receipt %s comes before %s", r.ID, last)
		}
		last = r.ID
	}
	p.holdsAfterRollback("m", baseTree.with(tree{"config.pbtxt": "b"}))
	if all, err := p.open().Receipts(); err != nil || all[0].Act != manifest.ActRollback {
		t.Errorf("the newest receipt is %+v, %v", all[0], err)
	}
}
