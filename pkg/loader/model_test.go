//go:build linux

package loader

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

var baseTree = tree{
	"config.pbtxt": "name: \"m\"", "labels.txt": "liver", "1/model.graphdef": "weights one", "1/empty/": "", "2/model.graphdef": "weights two",
	"2/sub/part.bin": "part",
}

var large = strings.Repeat("large file ", 1<<20) // 11 MiB: three chunks

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

// What a push left in the stage is taken up by the next one, except where it is damaged.
func TestResume(t *testing.T) {
	big, small := large, "small"
	tr := tree{"config.pbtxt": small, "1/big.bin": big, "1/big2.bin": big + "2"}
	for _, c := range []struct {
		name   string
		damage func(*placer) error
		sends  int64 // bytes of the second run at most
	}{
		{"whole", nil, descriptorOf(big + "2").Size},
		{"large damaged", func(p *placer) error {
			f, err := os.OpenFile(p.own("files", descriptorOf(big).Digest.Encoded()), os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte("damage"), 100)
			return err
		}, 0},
		{"small cut short", func(p *placer) error { return os.Truncate(p.packs()[0], 46) }, descriptorOf(big+"2").Size + 5},
		{"list cut short", func(p *placer) error {
			return os.Truncate(p.own("files", descriptorOf(big).Digest.Encoded()+".done"), 6)
		}, descriptorOf(big+"2").Size + descriptorOf(big).Size - manifest.ChunkSize},
		{"a link in the stage", func(p *placer) error {
			name := p.packs()[0]
			os.Remove(name)
			return os.Symlink("/etc/passwd", name)
		}, descriptorOf(big+"2").Size + 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlacer(t)
			contents := contentsOf(tr)
			h := p.open()
			pl, err := plan(h, manifest.Options{}, contents, tr.model("m"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range pl.Files[:len(pl.Files)] {
				if f.Size == descriptorOf(big).Size || f.Size < 100 {
					if err := sendFile(h, f, contents[f.Digest]); err != nil {
						t.Fatal(err)
					}
				}
			}
			h.Close()
			if c.damage != nil {
				if err := c.damage(p); err != nil {
					t.Fatal(err)
				}
			}
			pl, _, err = p.push("m", tr, manifest.Options{})
			if manifest.KindOf(err) == manifest.KindStale {
				_, _, err = p.push("m", tr, manifest.Options{})
			} else if pl.Sizes.Send > c.sends {
				t.Errorf("%d bytes travelled, want at most %d", pl.Sizes.Send, c.sends)
			}
			if err != nil {
				t.Fatal(err)
			}
			p.holds("m", tr)
			p.clean()
		})
	}
}

// Chunks may come in any order and before or after anybody waits for them. One that comes a second time, with whatever bytes,
// changes nothing: it may be in the hash already.
func TestChunkOrder(t *testing.T) {
	tr := tree{"1/big.bin": large}
	d := descriptorOf(large)
	for _, order := range [][]int{{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {1, 0, 0, 3, 2, 2, 5, 5, 4}} {
		for early := range len(order) + 1 { // so many come before the apply begins
			p := newPlacer(t)
			h := p.open()
			pl, err := plan(h, manifest.Options{}, nil, tr.model("m"))
			if err != nil {
				t.Fatal(err)
			}
			seen := map[int]bool{}
			put := func(chunks []int) {
				for _, i := range chunks {
					from := int64(i) * manifest.ChunkSize
					body := []byte(large[from : from+manifest.ChunkLen(d.Size, i)])
					if seen[i] {
						body = bytes.Repeat([]byte("!"), len(body))
					}
					seen[i] = true
					if err := h.PutFile(d.Digest, rawChunk(i, body)); err != nil {
						t.Error(err)
					}
				}
			}
			put(order[:early])
			pl.Files = nil // carryOut sends nothing
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				put(order[early:])
			}()
			if _, err := carryOut(h, pl, nil); err != nil {
				t.Fatalf("%v, %d early: %v", order, early, err)
			}
			<-sent
			p.holds("m", tr)
		}
	}
}

// A sweep takes what nobody has to do with, and nothing else.
func TestSweepFiles(t *testing.T) {
	p := newPlacer(t)
	tr := tree{"config.pbtxt": "c", "1/big.bin": large}
	h := p.open()
	pl, err := plan(h, manifest.Options{}, nil, tr.model("m"))
	if err != nil {
		t.Fatal(err)
	}
	if err := send(h, pl, contentsOf(tr)); err != nil {
		t.Fatal(err)
	}
	other := p.open()
	if s, err := other.Sweep(t.Context(), 0); err != nil || s.Blobs != 0 || s.Held != 2 {
		t.Errorf("while the push lives, a sweep says %+v, %v", s, err)
	}
	h.Close()
	if s, err := other.Sweep(t.Context(), time.Hour); err != nil || s.Blobs != 0 || s.Held != 2 {
		t.Errorf("a sweep of what is old says %+v, %v", s, err)
	}
	if s, err := other.Sweep(t.Context(), 0); err != nil || s.Blobs != 2 || s.Held != 0 || s.Bytes < int64(len(large)) {
		t.Errorf("after the push a sweep says %+v, %v", s, err)
	}
	p.clean()
}

// Two pushes of the same files at once both succeed: the later one waits and plans anew.
func TestTwoAtOnce(t *testing.T) {
	p := newPlacer(t)
	tr := tree{"config.pbtxt": "c", "1/big.bin": large}
	contents := contentsOf(tr)
	a, b := p.open(), p.open()
	planA, errA := plan(a, manifest.Options{}, contents, tr.model("m"))
	planB, errB := plan(b, manifest.Options{}, contents, tr.model("m"))
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if err := send(a, planA, contents); err != nil {
		t.Fatal(err)
	}
	if err := send(b, planB, contents); err != nil { // while a has not placed it
		t.Fatal(err)
	}
	if _, err := carryOut(a, planA, contents); err != nil {
		t.Fatal(err)
	}
	if _, err := carryOut(b, planB, contents); manifest.KindOf(err) != manifest.KindStale {
		t.Fatalf("the second one says %v", err)
	}
	if planB, errB = plan(b, manifest.Options{}, contents, tr.model("m")); errB != nil || !planB.Nothing() {
		t.Fatalf("planned anew: %+v, %v", planB.Models, errB)
	}
	p.holds("m", tr)
}

// Versions that only the host has stay, except with exact; a link among them is refused where it would have to be copied.
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
	p.pushed("m", next, manifest.Options{Exact: true})
	p.holds("m", next)
}

// A model that somebody changes by hand is replaced like any other; what stays the same is not hashed again.
func TestRemembered(t *testing.T) {
	p := newPlacer(t)
	p.pushed("m", baseTree, manifest.Options{})
	h := p.open()
	read := h.models.repo.remembered("m")
	if len(read) != 5 {
		t.Errorf("%d digests are remembered", len(read))
	}
	for path, k := range read {
		k.Digest = descriptorOf("a lie " + path).Digest // if it is believed, the file was not read
		read[path] = k
	}
	if err := h.models.repo.writeDigests("m", read); err != nil {
		t.Fatal(err)
	}
	pl, err := plan(h, manifest.Options{}, nil, baseTree.model("m"))
	if err != nil || pl.Nothing() {
		t.Errorf("files were hashed again: %v %v", pl.Models[0].Place, err)
	}
}
