//go:build linux

package integration

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
)

// What the host has does not travel, and what need not be read is not read: over a large base, a new top layer costs
// itself, and the same image again costs nothing, in bytes, in time, and at the source.
func TestSpared(t *testing.T) {
	for n, from := range lab.Dockers {
		t.Run(string(from), func(t *testing.T) {
			h := target(t, lab.ModernContainerd)
			if from != lab.ModernContainerd {
				h = target(t, lab.Docker2010)
			}
			s := spared{ref: fmt.Sprintf("spared-%d:1", n), base: lab.Layer{Size: 60 << 20, Seed: uint64(300 + n)}}
			if full() {
				s.base.Size = 1 << 30
			}
			e := source(t, from)
			s.tap = newTap(t, e, nil)
			s.c = newClient(t, e, h)
			s.c.Env = []string{"DOCKER_HOST=" + s.tap.Host()}
			t.Run("top layer", s.topLayer)
			t.Run("nothing", s.nothing)
			if from != lab.ModernContainerd { // which is never saved
				t.Run("another host", s.anotherHost)
			}
		})
	}
}

type spared struct {
	c    *client
	tap  *tap
	ref  string
	base lab.Layer
}

func (s spared) build(t *testing.T, seed uint64) {
	build(t, s.c.Engine, lab.ImageSpec{Name: s.ref, Base: s.base, Layers: []lab.Layer{{Size: 8 << 20, Seed: seed, Dir: "app"}}})
}

// topLayer: bytes on the wire at most 1.1 × the new layer as zstd -1, or as its original blob, and 64 KiB.
func (s spared) topLayer(t *testing.T) {
	s.c.t = t
	s.build(t, 1)
	s.c.pushed(s.ref)
	s.build(t, 2)
	r := s.c.pushed(s.ref)
	layer := s.layerSize(t)
	t.Logf("%d bytes on the wire for a layer of %d: %.3f; %v", r.Up, layer, float64(r.Up)/float64(layer), r.Took.Round(time.Millisecond))
	if limit := layer*11/10 + 64<<10; r.Up > limit {
		t.Errorf("%d bytes on the wire, want at most %d", r.Up, limit)
	}
	if spared := r.Summary.Bytes.Spared; s.c.Engine.Kind != lab.ModernContainerd && spared < s.base.Size {
		t.Errorf("%d bytes are said to be spared, want at least %d", spared, s.base.Size)
	}
	arrived(t, s.c, s.ref, s.ref)
}

// layerSize is the size of the top layer as its original blob, where the engine has one, else as zstd -1.
func (s spared) layerSize(t *testing.T) int64 {
	if s.c.Engine.Kind == lab.ModernContainerd {
		sizes := save(t, s.c.Engine, s.ref).Sizes
		return sizes[len(sizes)-1]
	}
	top := lastLayer(t, s.c.Engine, s.ref)
	cmd := exec.Command("sh", "-c", "zstd -1 -q -c | wc -c")
	cmd.Stdin = bytes.NewReader(top)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("zstd -1: %v", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil || n < 1000 {
		t.Fatalf("zstd -1 makes %q of %d bytes, %v", out, len(top), err)
	}
	return n
}

// lastLayer returns the bytes of an image's top layer from "docker save".
func lastLayer(t *testing.T, e *lab.Engine, ref string) []byte {
	t.Helper()
	want := save(t, e, ref).DiffIDs
	cmd, err := e.DockerCommand(t.Context(), "save", ref)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer io.Copy(io.Discard, out)
	for tr := tar.NewReader(out); ; {
		h, err := tr.Next()
		if err != nil {
			t.Fatalf("no layer %s in the archive: %v", want[len(want)-1], err)
		}
		if h.Size > 64<<20 {
			continue
		}
		var kept bytes.Buffer
		if e, err := readEntry(io.TeeReader(tr, &kept)); err == nil && e.diffID == want[len(want)-1] {
			return kept.Bytes()
		}
	}
}

// nothing: no blob byte, less than 2 seconds, and the source image is not saved, although no cache could spare that.
func (s spared) nothing(t *testing.T) {
	s.c.t = t
	if err := os.RemoveAll(s.c.cache()); err != nil {
		t.Fatal(err)
	}
	saves := s.tap.saves()
	r := s.c.pushed(s.ref)
	t.Logf("%d bytes on the wire, %v", r.Up, r.Took.Round(time.Millisecond))
	if r.Summary.Images[0].Action != "nothing" || r.steps("send") > 0 || r.Summary.Bytes.Send != 0 {
		t.Errorf("something was sent: %+v", r.Summary)
	}
	if r.Took > 2*time.Second {
		t.Errorf("took %v, want less than 2 s", r.Took)
	}
	if n := s.tap.saves() - saves; n != 0 {
		t.Errorf("the source image was saved %d times", n)
	}
	if n := layersIn(t, s.c.cache()); n != 0 {
		t.Errorf("%d layers are in the cache", n)
	}
}

// anotherHost: what was saved for one host is not saved again for the next.
func (s spared) anotherHost(t *testing.T) {
	first, second := *s.c, *s.c
	first.t, second.t = t, t
	s.build(t, 3)
	before := s.tap.saves()
	first.pushed(s.ref)
	if n := s.tap.saves() - before; n != 1 {
		t.Errorf("the source image was saved %d times, want once", n)
	}
	second.Host = target(t, lab.ModernGraphdriver)
	second.proxy = newCounter(t, second.Host.Addr)
	second.Addr = second.proxy.Addr
	second.pushed(s.ref)
	if n := s.tap.saves() - before; n != 1 {
		t.Errorf("the source image was saved %d times for two hosts, want once", n)
	}
	arrived(t, &second, s.ref, s.ref)
}

// layersIn counts the files of more than a document's size below a folder.
func layersIn(t *testing.T, dir string) int {
	t.Helper()
	out, err := exec.Command("sh", "-c", `find "$0" -type f -size +64k 2>/dev/null | wc -l`, dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(out)))
	return n
}
