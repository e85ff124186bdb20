//go:build linux

package loader

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Every placement leads to the wanted tree, keeps the former one, and leaves alone what it does not change.
func TestPlacements(t *testing.T) {
	cases := []struct {
		name       string
		to         tree
		place      manifest.Placement
		entry      string
		gone       bool
		noExchange manifest.Placement // when it differs
		untouched  []string           // files with their inode and times
	}{
		{"nothing", baseTree, manifest.PlaceNothing, "", false, "", []string{"config.pbtxt", "1/model.graphdef"}},
		{"config changed", baseTree.with(tree{"config.pbtxt": "new"}), manifest.PlaceFile, "config.pbtxt", false, "", []string{"1/model.graphdef", "labels.txt"}},
		{"weights changed", baseTree.with(tree{"1/model.graphdef": "other"}), manifest.PlaceFile, "1/model.graphdef", false, "",
			[]string{"2/model.graphdef", "config.pbtxt"}},
		{"large file new", baseTree.with(tree{"2/big.bin": large}), manifest.PlaceFile, "2/big.bin", false, "", []string{"2/model.graphdef", "config.pbtxt"}},
		{"file gone", baseTree.with(tree{"labels.txt": ""}), manifest.PlaceFile, "labels.txt", true, "", []string{"1/model.graphdef"}},
		{"version new", baseTree.with(tree{"3/model.graphdef": "three", "3/x.bin": "weights one"}), manifest.PlaceVersion, "3", false, "",
			[]string{"1/model.graphdef", "config.pbtxt"}},
		{"version changed", baseTree.with(tree{"2/model.graphdef": "changed", "2/new.bin": large}), manifest.PlaceVersion, "2", false, manifest.PlaceModel, nil},
		{"version gone", baseTree.with(tree{"2/model.graphdef": "", "2/sub/part.bin": ""}), manifest.PlaceVersion, "2", true, "", []string{"1/model.graphdef"}},
		{"all", tree{"config.pbtxt": "c", "1/model.graphdef": "weights two", "1/copy.graphdef": "weights two", "7/": ""}, manifest.PlaceModel, "", false, "", nil},
		{"folder becomes a file", baseTree.with(tree{"1/empty/": "", "labels.txt": ""}).with(tree{"labels.txt/": ""}), manifest.PlaceModel, "", false, "", nil},
	}
	bothWays(t, func(t *testing.T, exchange bool) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				p := newPlacer(t)
				p.pushed("m", baseTree, manifest.Options{Keep: 1})
				p.holds("m", baseTree)
				before, stamps := p.newestOf("m"), stampsOf(t, p.at("m"))
				pl, _ := p.pushed("m", c.to, manifest.Options{Keep: 1, Exact: true})
				want := c.place
				if c.noExchange != "" && !exchange {
					want = c.noExchange
				}
				if got := pl.Models[0]; got.Place != want || (want == c.place && (got.Entry != c.entry || got.Gone != c.gone)) {
					t.Errorf("placed by %s %q gone %v", got.Place, got.Entry, got.Gone)
				}
				p.holds("m", c.to)
				after := stampsOf(t, p.at("m"))
				for _, f := range c.untouched {
					if (c.gone && f == "config.pbtxt") || after[f] != stamps[f] {
						t.Errorf("%s was touched: %+v, then %+v", f, stamps[f], after[f])
					}
				}
				if want == manifest.PlaceNothing {
					return
				}
				if now := p.newestOf("m"); !now.After(before) {
					t.Errorf("the newest time is %v, it was %v", now, before)
				}
				p.holdsAfterRollback("m", baseTree)
			})
		}
	})
}

func stampsOf(t *testing.T, root string) map[string]stamp {
	t.Helper()
	all := map[string]stamp{}
	for p := range readTree(t, root) {
		if info, err := os.Lstat(filepath.Join(root, p)); err == nil {
			all[p] = stampOf(info)
		}
	}
	return all
}

// Versions that only the host has stay, except with exact; a link among them is refused where it would have to be copied, and only there.
func TestKeptVersions(t *testing.T) {
	p := newPlacer(t)
	p.pushed("m", baseTree, manifest.Options{Keep: 1})
	next := tree{"config.pbtxt": "n", "labels.txt": "n", "1/model.graphdef": "n"}
	pl, _ := p.pushed("m", next, manifest.Options{Keep: 1})
	if m := pl.Models[0]; len(m.Kept) != 1 || m.Kept[0] != "2" || len(m.Warnings) != 1 {
		t.Errorf("kept %v, warned %v", m.Kept, m.Warnings)
	}
	want := maps.Clone(next)
	want["2/model.graphdef"], want["2/sub/part.bin"] = "weights two", "part"
	p.holds("m", want)
	if err := os.Symlink("model.graphdef", filepath.Join(p.at("m"), "2", "link")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.push("m", baseTree.with(tree{"2/model.graphdef": "", "2/sub/part.bin": ""}), manifest.Options{}); manifest.KindOf(err) != manifest.KindPermission {
		t.Errorf("a kept link: %v", err)
	}
	next["labels.txt"] = "n2" // of which the version with the link is no part
	if pl, _ := p.pushed("m", next, manifest.Options{}); pl.Models[0].Place != manifest.PlaceFile {
		t.Errorf("beside a kept link: %v", pl.Models[0].Place)
	}
	p.pushed("m", next, manifest.Options{Exact: true})
	p.holds("m", next)
}

// What stays of the live tree is taken over whatever its times are: ahead, as from a machine whose clock is wrong, or of
// this moment.
func TestTakesOverAnyTime(t *testing.T) {
	for name, later := range map[string]time.Duration{"ahead": time.Hour, "now": 0, "long ago": -9999 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			p := newPlacer(t)
			p.pushed("m", baseTree, manifest.Options{})
			kept := filepath.Join(p.at("m"), "2/model.graphdef")
			when := time.Now().Add(later)
			if err := errors.Join(os.WriteFile(kept, []byte("by hand"), fileMode), os.Chtimes(kept, when, when)); err != nil {
				t.Fatal(err)
			}
			next := tree{"config.pbtxt": "n", "1/model.graphdef": "n"}
			p.pushed("m", next, manifest.Options{})
			p.holds("m", next.with(tree{"2/model.graphdef": "by hand", "2/sub/part.bin": "part"}))
		})
	}
}

// What others may not read is told, as long as it stays: Triton often runs as another user.
func TestTellsWhatOthersMayNotRead(t *testing.T) {
	for name, c := range map[string]struct {
		closed string
		to     tree
		warns  bool
	}{
		"a file that stays":           {"config.pbtxt", baseTree, true},
		"a folder that stays":         {"1", baseTree.with(tree{"config.pbtxt": "new"}), true},
		"the model's own":             {".", baseTree.with(tree{"3/model.graphdef": "x"}), true},
		"a file that is replaced":     {"config.pbtxt", baseTree.with(tree{"config.pbtxt": "new"}), false},
		"a version that is replaced":  {"2", baseTree.with(tree{"2/model.graphdef": "x", "2/more": "y"}), false},
		"a file of a model exchanged": {"labels.txt", baseTree.with(tree{"config.pbtxt": "new", "1/model.graphdef": "x"}), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlacer(t)
			p.pushed("m", baseTree, manifest.Options{})
			if err := os.Chmod(filepath.Join(p.at("m"), c.closed), 0o700); err != nil {
				t.Fatal(err)
			}
			pl, err := plan(p.open(), manifest.Options{}, nil, c.to.model("m"))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(pl.Models[0].Warnings, " "); strings.Contains(got, "may not read "+c.closed+" ") != c.warns || !c.warns && got != "" {
				t.Errorf("it warns %q", got)
			}
		})
	}
}

// What somebody changes by hand while files travel is not overwritten unseen: the push plans anew, and what it then replaces
// can be gone back to.
func TestChangedWhileFilesTravel(t *testing.T) {
	bothWays(t, func(t *testing.T, _ bool) {
		p := newPlacer(t)
		p.pushed("m", baseTree, manifest.Options{Keep: 1})
		next := tree{"config.pbtxt": "new", "1/model.graphdef": "new", "2/model.graphdef": large}
		h := p.open()
		pl, err := plan(h, manifest.Options{Keep: 1}, nil, next.model("m"))
		if err != nil {
			t.Fatal(err)
		}
		applied := make(chan error, 1)
		go func() {
			_, err := h.Apply(t.Context(), pl, nil, func() {}, nil)
			applied <- err
		}()
		for end := time.Now().Add(10 * time.Second); !exists(p.own("trees", "m")); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nothing is being built")
			}
		}
		byHand := baseTree.with(tree{"labels.txt": "by hand"})
		if err := os.WriteFile(filepath.Join(p.at("m"), "labels.txt"), []byte("by hand"), fileMode); err != nil {
			t.Fatal(err)
		}
		if err := send(h, pl, contentsOf(next)); err != nil {
			t.Fatal(err)
		}
		if err := <-applied; manifest.KindOf(err) != manifest.KindStale {
			t.Errorf("it says %v", err)
		}
		p.holds("m", byHand)
		h.Close()
		again, _ := p.pushed("m", next, manifest.Options{Keep: 1})
		if again.Sizes.Send > 0 {
			t.Errorf("%d bytes travel again", again.Sizes.Send)
		}
		p.holds("m", next)
		p.holdsAfterRollback("m", byHand)
	})
}
