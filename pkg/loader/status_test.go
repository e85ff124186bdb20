//go:build linux

package loader

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// meddled are things that somebody does to a model by hand, and what a status makes of them.
var meddled = []struct {
	name    string
	do      func(root string) error
	drift   manifest.Drift
	changed string
}{
	{"nothing", func(string) error { return nil }, manifest.DriftNone, ""},
	{"touched", func(root string) error { return os.Chmod(filepath.Join(root, "config.pbtxt"), 0o600) }, manifest.DriftNone, ""},
	{"edited", func(root string) error {
		return os.WriteFile(filepath.Join(root, "config.pbtxt"), []byte("by hand"), fileMode)
	}, manifest.DriftChanged, "config.pbtxt"},
	{"added", func(root string) error {
		return os.WriteFile(filepath.Join(root, "1/more"), []byte("by hand"), fileMode)
	}, manifest.DriftChanged, "1/more"},
	{"folder", func(root string) error { return os.Mkdir(filepath.Join(root, "7"), dirMode) }, manifest.DriftChanged, "7/"},
	{"link", func(root string) error { return os.Symlink("config.pbtxt", filepath.Join(root, "link")) }, manifest.DriftChanged, "link"},
	{"removed", func(root string) error { return os.RemoveAll(filepath.Join(root, "2")) }, manifest.DriftChanged, "2/model.graphdef 2/sub/part.bin"},
	{"gone", os.RemoveAll, manifest.DriftGone, ""},
}

func TestStatusOfModels(t *testing.T) {
	for _, m := range meddled {
		t.Run(m.name, func(t *testing.T) {
			p := newPlacer(t)
			p.pushed("m", baseTree, manifest.Options{Keep: 1})
			_, r := p.pushed("m", baseTree.with(tree{"config.pbtxt": "new"}), manifest.Options{Keep: 1})
			if err := m.do(p.at("m")); err != nil {
				t.Fatal(err)
			}
			h, err := Open(t.Context(), Options{NoEngine: true, StateDir: filepath.Join(p.dir, "state")}) // the receipts name the repository
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			s, err := h.Status(t.Context())
			if err != nil || len(s.Models) != 1 {
				t.Fatalf("%+v, %v", s, err)
			}
			got := s.Models[0]
			if got.Drift != m.drift || strings.Join(got.Changed, " ") != m.changed {
				t.Errorf("drift %q, changed %q; want %q and %q", got.Drift, got.Changed, m.drift, m.changed)
			}
			if got.Name != "m" || got.Repository != p.repo || got.Receipt != r.ID || got.Placed != r.Models[0].After || !got.Back {
				t.Errorf("it says %+v", got)
			}
		})
	}
}

func TestStatusNeedsTheRepository(t *testing.T) {
	p := newPlacer(t)
	p.pushed("m", baseTree, manifest.Options{})
	if err := os.RemoveAll(p.repo); err != nil {
		t.Fatal(err)
	}
	s, err := p.open().Status(t.Context())
	if err != nil || len(s.Models) != 1 || s.Models[0].Drift != manifest.DriftGone {
		t.Errorf("%+v, %v", s, err)
	}
	if err := os.Symlink("models", p.repo); err != nil { // to itself: who knows what is there
		t.Fatal(err)
	}
	if s, err := p.open().Status(t.Context()); manifest.KindOf(err) != manifest.KindPermission {
		t.Errorf("where nobody can look it says %+v, %v", s, err)
	}
}

// Where nothing can be placed any more, a status still tells what is there.
func TestStatusWhereNothingCanBePlaced(t *testing.T) {
	p := newPlacer(t)
	t.Chdir(p.dir)
	p.pushed("m", baseTree, manifest.Options{Keep: 1})
	if err := os.Chmod(filepath.Join(p.dir, stageName), 0o777); err != nil { // refused: others may write to it
		t.Fatal(err)
	}
	for _, want := range []manifest.Drift{manifest.DriftNone, manifest.DriftChanged} {
		s, err := p.open().Status(t.Context())
		if err != nil || len(s.Models) != 1 || s.Models[0].Drift != want || s.Models[0].Back {
			t.Errorf("%+v, %v; want drift %q", s, err, want)
		}
		if err := os.WriteFile(filepath.Join(p.at("m"), "labels.txt"), []byte("by hand"), fileMode); err != nil {
			t.Fatal(err)
		}
	}
	if exists("digests") {
		t.Error("digests were remembered in the current folder")
	}
}

// A rollback does not throw away what somebody else did, unless it is told to.
func TestRollbackOfWhatWasMeddledWith(t *testing.T) {
	for _, m := range meddled {
		t.Run(m.name, func(t *testing.T) {
			p := newPlacer(t)
			p.pushed("m", baseTree, manifest.Options{Keep: 1})
			p.pushed("m", baseTree.with(tree{"config.pbtxt": "new", "1/model.graphdef": "new"}), manifest.Options{Keep: 1})
			if err := m.do(p.at("m")); err != nil {
				t.Fatal(err)
			}
			h := p.open()
			what := manifest.Selection{Models: []string{"m"}}
			_, err := h.Rollback(t.Context(), what, Owner{}, nil)
			if drift := manifest.KindOf(err) == manifest.KindDrift; drift != (m.drift != manifest.DriftNone && m.name != "folder") {
				t.Errorf("it says %v", err)
			}
			what.Force = true
			if err != nil {
				if _, err = h.Rollback(t.Context(), what, Owner{}, nil); err != nil {
					t.Fatal(err)
				}
			}
			p.holds("m", baseTree)
			p.clean()
		})
	}
}

// Of a model of which one file was placed, the rollback concerns that file alone.
func TestRollbackLeavesTheRestAlone(t *testing.T) {
	p := newPlacer(t)
	p.pushed("m", baseTree, manifest.Options{Keep: 1})
	p.pushed("m", baseTree.with(tree{"config.pbtxt": "new"}), manifest.Options{Keep: 1})
	if err := os.WriteFile(filepath.Join(p.at("m"), "1/more"), []byte("by hand"), fileMode); err != nil {
		t.Fatal(err)
	}
	h := p.open()
	r, err := h.Rollback(t.Context(), manifest.Selection{}, Owner{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.holds("m", baseTree.with(tree{"1/more": "by hand"}))
	if want := baseTree.with(tree{"1/more": "by hand"}).model("m"); r.Models[0].After != manifest.TreeDigest(want.Files, want.Dirs) {
		t.Error("the receipt tells another digest")
	}
	h.changedBy(t, "1/more")
}

// changedBy checks that a status shows the model's changed paths, and that a removal does not throw them away.
func (h *Host) changedBy(t *testing.T, changed ...string) {
	t.Helper()
	s, err := h.Status(t.Context())
	if err != nil || s.Models[0].Drift != manifest.DriftChanged || !slices.Equal(s.Models[0].Changed, changed) {
		t.Errorf("%+v, %v; want %v changed", s.Models, err, changed)
	}
	if _, err := h.Remove(t.Context(), manifest.Selection{Models: []string{"m"}}, Owner{}, nil); manifest.KindOf(err) != manifest.KindDrift {
		t.Errorf("the removal says %v", err)
	}
}

// What somebody changed before a push, and the rollback of that brings back, was not placed either.
func TestRollbackBringsChangesBack(t *testing.T) {
	p := newPlacer(t)
	p.pushed("m", baseTree, manifest.Options{Keep: 1})
	if err := os.WriteFile(filepath.Join(p.at("m"), "labels.txt"), []byte("by hand"), fileMode); err != nil {
		t.Fatal(err)
	}
	p.pushed("m", baseTree.with(tree{"config.pbtxt": "new", "1/model.graphdef": "new"}), manifest.Options{Keep: 1})
	h := p.open()
	if _, err := h.Rollback(t.Context(), manifest.Selection{}, Owner{}, nil); err != nil {
		t.Fatal(err)
	}
	p.holds("m", baseTree.with(tree{"labels.txt": "by hand"}))
	h.changedBy(t, "labels.txt")
}

// A rollback to what was there before the first push makes nothing ours to remove.
func TestRollbackToWhatWasThere(t *testing.T) {
	p := newPlacer(t)
	if err := os.MkdirAll(filepath.Join(p.at("m"), "9"), dirMode); err != nil {
		t.Fatal(err)
	}
	p.pushed("m", baseTree, manifest.Options{Keep: 1, Exact: true})
	h := p.open()
	if _, err := h.Rollback(t.Context(), manifest.Selection{}, Owner{}, nil); err != nil {
		t.Fatal(err)
	}
	if s, err := h.Status(t.Context()); err != nil || !s.Models[0].Foreign || s.Models[0].Drift != manifest.DriftNone {
		t.Errorf("the status says %+v, %v", s.Models, err)
	}
	what := manifest.Selection{Models: []string{"m"}}
	if _, err := h.Remove(t.Context(), what, Owner{}, nil); manifest.KindOf(err) != manifest.KindDrift {
		t.Errorf("the removal says %v", err)
	}
	p.holds("m", tree{"9/": ""})
	what.Force = true
	if _, err := h.Remove(t.Context(), what, Owner{}, nil); err != nil || exists(p.at("m")) {
		t.Errorf("it is there, or %v", err)
	}
}

func TestRollbackAsFarAsItGoes(t *testing.T) {
	p := newPlacer(t)
	trees := []tree{baseTree, baseTree.with(tree{"config.pbtxt": "2"}), baseTree.with(tree{"config.pbtxt": "3"})}
	for _, tr := range trees {
		p.pushed("m", tr, manifest.Options{Keep: 2})
	}
	h := p.open()
	for _, tr := range []tree{trees[1], trees[0]} {
		if _, err := h.Rollback(t.Context(), manifest.Selection{}, Owner{}, nil); err != nil {
			t.Fatal(err)
		}
		p.holds("m", tr)
	}
	if _, err := h.Rollback(t.Context(), manifest.Selection{}, Owner{}, nil); err != nil || exists(p.at("m")) {
		t.Errorf("as before the first push, there is nothing; but %v", err)
	}
	for _, what := range []manifest.Selection{{}, {Models: []string{"m"}}, {Models: []string{"x"}}, {Images: []string{"app:1"}}} {
		if _, err := h.Rollback(t.Context(), what, Owner{}, nil); manifest.KindOf(err) != manifest.KindNotFound {
			t.Errorf("%+v: it says %v", what, err)
		}
	}
	p.clean()
}

func TestRemoveModels(t *testing.T) {
	for _, m := range meddled {
		t.Run(m.name, func(t *testing.T) {
			p := newPlacer(t)
			p.pushed("other", baseTree, manifest.Options{Keep: 1})
			p.pushed("m", baseTree, manifest.Options{Keep: 1})
			p.pushed("m", baseTree.with(tree{"config.pbtxt": "new"}), manifest.Options{Keep: 1})
			if err := m.do(p.at("m")); err != nil {
				t.Fatal(err)
			}
			h := p.open()
			what := manifest.Selection{Models: []string{"m"}}
			_, err := h.Remove(t.Context(), what, Owner{}, nil)
			if drift := manifest.KindOf(err) == manifest.KindDrift; drift != (m.drift == manifest.DriftChanged) {
				t.Errorf("it says %v", err)
			}
			if err != nil {
				what.Force = true
				if _, err := h.Remove(t.Context(), what, Owner{}, nil); err != nil {
					t.Fatal(err)
				}
			}
			if exists(p.at("m")) || p.kept("m") > 0 {
				t.Error("it is there, or former states are")
			}
			p.holds("other", baseTree)
			p.clean()
			if s, err := h.Status(t.Context()); err != nil || len(s.Models) != 1 {
				t.Errorf("%+v, %v", s.Models, err)
			}
			if _, err := h.Remove(t.Context(), what, Owner{}, nil); manifest.KindOf(err) != manifest.KindNotFound {
				t.Errorf("removed again: %v", err)
			}
			p.pushed("m", baseTree, manifest.Options{Keep: 1})
		})
	}
}

// A version that an earlier push placed goes with the model, though a later push kept it; not after somebody changed it.
func TestRemoveKeptVersions(t *testing.T) {
	for name, meddle := range map[string]func(p *placer) error{
		"untouched": nil,
		"changed between": func(p *placer) error {
			defer time.Sleep(2 * young)
			return os.WriteFile(filepath.Join(p.at("m"), "2/model.graphdef"), []byte("by hand"), fileMode)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlacer(t)
			p.pushed("m", baseTree, manifest.Options{Keep: 1})
			if meddle != nil {
				if err := meddle(p); err != nil {
					t.Fatal(err)
				}
			}
			pl, _ := p.pushed("m", tree{"config.pbtxt": "n", "3/model.graphdef": "three"}, manifest.Options{Keep: 1})
			if got := strings.Join(pl.Models[0].Kept, " "); got != "1 2" {
				t.Fatalf("kept %s", got)
			}
			_, err := p.open().Remove(t.Context(), manifest.Selection{Models: []string{"m"}}, Owner{}, nil)
			if drift := manifest.KindOf(err) == manifest.KindDrift; drift != (meddle != nil) || drift == !exists(p.at("m")) {
				t.Errorf("it says %v", err)
			}
		})
	}
}

// What is named twice is changed once.
func TestNamedTwice(t *testing.T) {
	p := newPlacer(t)
	p.pushed("m", baseTree, manifest.Options{Keep: 1})
	p.pushed("m", baseTree.with(tree{"config.pbtxt": "new"}), manifest.Options{Keep: 1})
	h := p.open()
	what := manifest.Selection{Models: []string{"m", "m"}}
	if r, err := h.Rollback(t.Context(), what, Owner{}, nil); err != nil || len(r.Models) != 1 {
		t.Errorf("the rollback says %v, %v", r.Models, err)
	}
	p.holds("m", baseTree)
	if r, err := h.Remove(t.Context(), what, Owner{}, nil); err != nil || len(r.Models) != 1 {
		t.Errorf("the removal says %v, %v", r.Models, err)
	}
	past := receiptsOf(t, "push app:latest=1")
	for _, choose := range []func(*history, manifest.Selection) ([]deed, error){h.toTakeBack, h.toRemove} {
		deeds, err := choose(past, manifest.Selection{Images: []string{"app", "app:latest", "app"}})
		if len(deeds) != 1 || manifest.KindOf(err) != manifest.KindPermission { // no engine is there
			t.Errorf("it is about %v, %v", deeds, err)
		}
	}
}

// What a rollback cannot put back, because it was removed, is said.
func TestRollbackOfWhatIsLeft(t *testing.T) {
	s := newSeveral(t)
	h, p := s.staged()
	if _, err := h.Apply(t.Context(), p, nil, func() {}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Remove(t.Context(), manifest.Selection{Models: []string{"a"}}, Owner{}, nil); err != nil {
		t.Fatal(err)
	}
	r, err := h.Rollback(t.Context(), manifest.Selection{}, Owner{}, nil)
	if err != nil || len(r.Models) != 2 || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "a came with it") {
		t.Errorf("it says %v, and in the receipt %q", err, r.Warnings)
	}
}

// Nobody plans a rollback anew by itself, so no caller must take it for that.
func TestMeanwhile(t *testing.T) {
	err := meanwhile(movedAway(manifest.Done{Ref: "app:1"}, "sha256:1"))
	if manifest.KindOf(err) != manifest.KindDrift || meanwhile(nil) != nil {
		t.Errorf("it says %v", err)
	}
}

// What clara-push did not place is not its to remove.
func TestRemoveRefuses(t *testing.T) {
	p := newPlacer(t)
	if err := os.MkdirAll(filepath.Join(p.at("m"), "9"), dirMode); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(p.at("foreign"), dirMode); err != nil {
		t.Fatal(err)
	}
	p.pushed("m", baseTree, manifest.Options{Keep: 1})
	h := p.open()
	for _, tt := range []struct {
		what manifest.Selection
		want manifest.Kind
	}{
		{manifest.Selection{}, manifest.KindUsage},
		{manifest.Selection{Models: []string{"foreign"}}, manifest.KindNotFound},
		{manifest.Selection{Models: []string{"../models/m"}}, manifest.KindModel},
		{manifest.Selection{Models: []string{"m"}}, manifest.KindDrift}, // version 9 was there before
		{manifest.Selection{Images: []string{"app:1"}}, manifest.KindNotFound},
	} {
		if _, err := h.Remove(t.Context(), tt.what, Owner{}, nil); manifest.KindOf(err) != tt.want {
			t.Errorf("%+v: it says %v", tt.what, err)
		}
	}
	p.holds("m", baseTree.with(tree{"9/": ""}))
	p.clean()
	p.pushed("m", baseTree.with(tree{"config.pbtxt": "new"}), manifest.Options{Keep: 1})
	if _, err := p.rollback("m"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Remove(t.Context(), manifest.Selection{Models: []string{"m"}}, Owner{}, nil); manifest.KindOf(err) != manifest.KindDrift {
		t.Errorf("after a rollback it says %v", err) // version 9 still is somebody else's
	}
	p.holds("m", baseTree.with(tree{"9/": ""}))
}
