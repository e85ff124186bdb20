package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// The parts, joined, are the tar; their list has each one's size and digest.
func TestSplit(t *testing.T) {
	_, _, whole := writtenTar(t, release1(t, asGzip, true), WriteOptions{})
	for _, limit := range []int64{1000, 4096, int64(len(whole)) / 2, int64(len(whole)) - 1, int64(len(whole)), 1 << 30} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "release.tar")
			w, err := Write(t.Context(), release1(t, asGzip, true), to, WriteOptions{Split: limit, WorkDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			count := int((int64(len(whole)) + limit - 1) / limit)
			doc, raw := writtenParts(t, to)
			if len(doc.Parts) != count || len(w.Paths) != count+1 || w.Paths[count] != to+".parts.json" {
				t.Fatalf("%d parts, %v; want %d", len(doc.Parts), w.Paths, count)
			}
			if doc.Size != int64(len(whole)) || doc.Index != w.Index || w.Size != int64(len(whole)+len(raw)) {
				t.Errorf("parts.json says %d bytes and index %s; written %d", doc.Size, doc.Index, w.Size)
			}
			if joined := joinedParts(t, to, doc); !bytes.Equal(joined, whole) {
				t.Errorf("joined they are %d other bytes", len(joined))
			}
			if left, _ := os.ReadDir(filepath.Dir(to)); len(left) != count+1 {
				t.Errorf("in the folder: %v", left)
			}
		})
	}
}

func writtenParts(t testing.TB, to string) (partsDocument, []byte) {
	t.Helper()
	raw, err := os.ReadFile(to + ".parts.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc partsDocument
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	return doc, raw
}

func joinedParts(t testing.TB, to string, doc partsDocument) []byte {
	t.Helper()
	var joined []byte
	for n, p := range doc.Parts {
		if want := fmt.Sprintf("release.tar.%03d", n+1); p.Name != want {
			t.Errorf("part %d is called %s", n, p.Name)
		}
		raw, err := os.ReadFile(filepath.Join(filepath.Dir(to), p.Name))
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(raw)) != p.Size || digest.FromBytes(raw) != p.Digest {
			t.Errorf("%s is not as listed", p.Name)
		}
		joined = append(joined, raw...)
	}
	return joined
}

// A new bundle in fewer parts leaves none of the former one's behind it.
func TestSplitAgain(t *testing.T) {
	to := filepath.Join(t.TempDir(), "release.tar")
	for _, limit := range []int64{2000, 5000} {
		if _, err := Write(t.Context(), release1(t, asGzip, true), to, WriteOptions{Split: limit, WorkDir: t.TempDir()}); err != nil {
			t.Fatal(err)
		}
	}
	doc, _ := writtenParts(t, to)
	joinedParts(t, to, doc)
	if left, _ := os.ReadDir(filepath.Dir(to)); len(left) != len(doc.Parts)+1 {
		t.Errorf("in the folder: %v", left)
	}
}

func TestCountParts(t *testing.T) {
	if n, err := countParts(999*4096, 4096); n != 999 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := countParts(999*4096+1, 4096); manifest.KindOf(err) != manifest.KindUsage {
		t.Errorf("a thousand parts: %v", err)
	}
}
