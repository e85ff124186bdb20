//go:build linux

package loader

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

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
