//go:build linux

package integration

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// chunk is how many bytes of a blob travel as one.
const chunk = manifest.ChunkSize

// What waits in the stage is checked before it is used: a spoilt chunk travels again, and only that.
func TestSpoiltStage(t *testing.T) {
	const chunks = 5
	cases := []struct {
		name  string
		spoil func(t *testing.T, blob string)
		again int64 // how many chunks travel again
	}{
		{"flipped byte", func(t *testing.T, blob string) { flip(t, filepath.Join(blob, "2"), 12345) }, 1},
		{"flipped head", func(t *testing.T, blob string) { flip(t, filepath.Join(blob, "2"), 13) }, 1},
		{"cut short", func(t *testing.T, blob string) { cut(t, filepath.Join(blob, "2"), chunk/2) }, 1},
		{"empty", func(t *testing.T, blob string) { cut(t, filepath.Join(blob, "2"), 0) }, 1},
		{"missing chunk", func(t *testing.T, blob string) { remove(t, filepath.Join(blob, "2")) }, 1},
		{"missing blob", func(t *testing.T, blob string) { remove(t, blob) }, chunks},
	}
	bothStores(t, func(t *testing.T, k lab.Kind) {
		s := stand(t, k)
		for _, p := range cases {
			t.Run(p.name, func(t *testing.T) {
				s.c.t = t
				p.spoil(t, s.stageOnly(t, chunks*chunk-99999))
				r := s.recovers(t)
				if want := p.again * chunk; r.Up < want-99999 || r.Up > want+chunk/4 {
					t.Errorf("%d bytes travelled, want %d chunks of %d", r.Up, p.again, chunk)
				}
			})
		}
	})
}

// Chunks that are sound in themselves and make up another blob are found out when that is read whole.
func TestForgedChunk(t *testing.T) {
	bothStores(t, func(t *testing.T, k lab.Kind) {
		s := stand(t, k)
		forge(t, filepath.Join(s.stageOnly(t, 3*chunk), "1"))
		r := s.c.fails(17, s.ref)
		r.says(t, "arrived damaged")
		s.untouched(t)
		if r := s.recovers(t); r.Up < 3*chunk {
			t.Errorf("%d bytes travelled, want the whole layer of %d", r.Up, 3*chunk)
		}
	})
}

// stageOnly makes a new version, pushes it to an engine that refuses it, and returns the folder of its layer in the stage.
func (s *standing) stageOnly(t *testing.T, size int64) string {
	t.Helper()
	s.version(t, size)
	refusing := newTap(t, s.c.Host.Engine, refuse(`{"errorDetail":{"message":"not today"},"error":"not today"}`))
	r := s.c.fails(16, "--host-engine", refusing.Host(), s.ref)
	r.says(t, "not today")
	s.untouched(t)
	blobs, err := os.ReadDir(stage(s.c.Host))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		dir := filepath.Join(stage(s.c.Host), b.Name())
		if chunks, _ := os.ReadDir(dir); len(chunks) == int((size+chunk)/chunk) {
			return dir
		}
	}
	t.Fatalf("no blob of %d bytes is kept in the stage: %v", size, blobs)
	return ""
}

// refuse reads a load to its end and answers with these lines, without asking the engine.
func refuse(lines string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !isLoad(r) {
			return false
		}
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, lines+"\n")
		return true
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	edit(t, path, func(b []byte) []byte {
		b[at] ^= 1
		return b
	})
}

func cut(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// forge changes a staged chunk and gives it the sum that it then has. The format is that of package loader: 24 bytes of
// header, the last 8 of which are the sum, and the bytes as they came; random ones come as they are.
func forge(t *testing.T, path string) {
	t.Helper()
	edit(t, path, func(b []byte) []byte {
		if string(b[:5]) != "cpc1r" {
			t.Fatalf("%s is not a raw chunk: %q", path, b[:5])
		}
		b[24+777] ^= 1
		binary.BigEndian.PutUint64(b[16:], xxhash.Sum64(b[24:]))
		return b
	})
}

func edit(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, f(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// line is one line of an engine's answer.
func line(key, text string) string {
	return `{` + strconv.Quote(key) + `:` + quoted(text) + `}`
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}
