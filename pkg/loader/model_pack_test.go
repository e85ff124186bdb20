//go:build linux

package loader

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// sendPack stages contents in one pack.
func sendPack(t *testing.T, h *Host, contents ...string) {
	t.Helper()
	var parts []manifest.Part
	for _, c := range contents {
		parts = append(parts, manifest.Part{Digest: descriptorOf(c).Digest, Size: int64(len(c))})
	}
	body := strings.Join(contents, "")
	if body == "" { // as transfer does it
		body = "\x00"
	}
	if err := h.PutPack(parts, rawChunk(0, []byte(body))); err != nil {
		t.Fatal(err)
	}
}

// Small files are placed out of whatever packs hold them, the same file at several paths too, and a later push takes up what
// an earlier one has sent. It leaves only what it has no use for.
func TestPacks(t *testing.T) {
	tr := tree{"config.pbtxt": "c", "1/a": "a", "1/same": "a", "2/b": "b", "2/empty": ""}
	for _, c := range []struct {
		name  string
		packs [][]string
		sends int // files
		left  int // packs
	}{
		{"one", [][]string{{"c", "a", "b", ""}}, 0, 0},
		{"several, with one file twice", [][]string{{"c", "a"}, {"a", "b"}, {"", "c", "c"}}, 0, 0},
		{"not all", [][]string{{"c", "a"}, {""}}, 1, 0},
		{"with others", [][]string{{"c", "other"}, {"another"}, {"b"}}, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlacer(t)
			h := p.open()
			for _, contents := range c.packs {
				sendPack(t, h, contents...)
			}
			h.Close()
			pl, _, err := p.push("m", tr, manifest.Options{})
			if err != nil {
				t.Fatal(err)
			}
			sends := 0
			for _, f := range pl.Files {
				if len(f.Staged) == 0 {
					sends++
				}
			}
			if sends != c.sends {
				t.Errorf("%d files are sent, want %d", sends, c.sends)
			}
			p.holds("m", tr)
			if left, err := os.ReadDir(p.own("files")); err != nil || len(left) != c.left {
				t.Errorf("left in the stage: %v, %v", left, err)
			}
		})
	}
}

// A pack whose files are not what their digests say is refused and not kept; so is one that claims too much.
func TestPackDamaged(t *testing.T) {
	p := newPlacer(t)
	h := p.open()
	good := manifest.Part{Digest: descriptorOf("good").Digest, Size: 4}
	for n, parts := range [][]manifest.Part{
		{{Digest: good.Digest, Size: 3}},
		{good, good},
		{{Digest: good.Digest, Size: -1}},
		{{Digest: good.Digest, Size: 1 << 40}},
		{{Digest: "sha256:../../x", Size: 4}},
		make([]manifest.Part, maxPackParts+1),
	} {
		if err := h.PutPack(parts, rawChunk(0, []byte("good"))); err == nil {
			t.Errorf("pack %d was taken", n)
		}
	}
	p.clean()
}

// Of packs that somebody spoilt in the stage none is believed, and nothing of them reaches the live tree.
func TestPackSpoilt(t *testing.T) {
	tr := tree{"config.pbtxt": "c", "1/a": strings.Repeat("a", 100)}
	for n, spoil := range []func(string) error{
		func(f string) error { return os.WriteFile(f, nil, 0o600) },
		func(f string) error { return os.WriteFile(f, []byte("\xff\xff\xff\xff"), 0o600) },
		func(f string) error { return os.WriteFile(f, []byte("\x00\x00\x00\x09abc"), 0o600) },
		func(f string) error { return os.Truncate(f, 130) },
		func(f string) error { return os.Remove(f) },
		func(f string) error {
			raw, err := os.ReadFile(f)
			if err == nil {
				raw[len(raw)-1] ^= 1
				err = os.WriteFile(f, raw, 0o600)
			}
			return err
		},
	} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			p := newPlacer(t)
			h := p.open()
			sendPack(t, h, slices.Collect(maps.Values(tr))...)
			h.Close()
			if err := spoil(p.packs()[0]); err != nil {
				t.Fatal(err)
			}
			if _, _, err := p.push("m", tr, manifest.Options{}); err != nil {
				t.Fatal(err)
			}
			p.holds("m", tr)
		})
	}
}

// A pack that goes away between plan and placement makes the plan stale, and the live tree stays.
func TestPackGone(t *testing.T) {
	p := newPlacer(t)
	tr := tree{"config.pbtxt": "c", "1/a": "a"}
	h := p.open()
	sendPack(t, h, "c", "a")
	pl, err := plan(h, manifest.Options{}, nil, tr.model("m"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p.packs()[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := carryOut(h, pl, contentsOf(tr)); manifest.KindOf(err) != manifest.KindStale {
		t.Errorf("it says %v", err)
	}
	if _, err := os.Stat(p.at("m")); err == nil {
		t.Error("the model was placed")
	}
}
