package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// A new bundle leaves nothing of the former one of its name, whatever form the two have.
func TestSplitAgain(t *testing.T) {
	to := filepath.Join(t.TempDir(), "release.tar")
	foreign := filepath.Join(filepath.Dir(to), "release.tar.500")
	saveFile(t, foreign, []byte("x"))
	for _, limit := range []int64{2000, 5000, 1000, 0, 3000, 0} {
		w, err := Write(t.Context(), release1(t, asGzip, true), to, WriteOptions{Split: limit, WorkDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if limit > 0 {
			doc, _ := writtenParts(t, to)
			joinedParts(t, to, doc)
		}
		for _, path := range w.Paths {
			if err := verified(t, path); err != nil {
				t.Errorf("in parts of %d: %s: %v", limit, path, err)
			}
		}
		if left, _ := os.ReadDir(filepath.Dir(to)); len(left) != len(w.Paths)+1 {
			t.Errorf("in parts of %d: there are %v", limit, left)
		}
	}
}

// Parts without a list are none of ours to a tar that gets the name.
func TestTarBesideNumbers(t *testing.T) {
	to := filepath.Join(t.TempDir(), "backup")
	saveFile(t, to+".001", []byte("x"))
	if _, err := Write(t.Context(), release1(t, asGzip, true), to, WriteOptions{WorkDir: t.TempDir()}); err != nil || !exists(to+".001") {
		t.Errorf("%v, or a file that is none of ours is gone", err)
	}
}

// Parts that a killed writer left without a list are not ours to remove for a tar of their name, but named.
func TestTarBesideParts(t *testing.T) {
	to := filepath.Join(t.TempDir(), "release.tar")
	if _, err := Write(t.Context(), release1(t, asGzip, true), to, WriteOptions{Split: 3000, WorkDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(to + partsSuffix); err != nil {
		t.Fatal(err)
	}
	last := partName("release.tar", countedUp(to)-1)
	for _, o := range []WriteOptions{{}, {Split: 3000}} {
		o.WorkDir = t.TempDir()
		w, err := Write(t.Context(), release1(t, asGzip, true), to, o)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(w.Warnings, " ")
		if o.Split == 0 && !strings.Contains(text, "release.tar.001 to "+last) || o.Split > 0 && text != "" {
			t.Errorf("in parts of %d: it warns %q, the last part is %s", o.Split, text, last)
		}
	}
}

// TestPublishStops ends the replacing of parts wherever it can be ended. What lies there then is the former bundle's or the new
// one's, never both's, and the next run makes it right.
func TestPublishStops(t *testing.T) {
	forms := map[string]form{"former": asZstd, "fresh": asGzip}
	write := func(to, which string) error {
		_, err := Write(t.Context(), release1(t, forms[which], true), to, WriteOptions{Split: 2500, WorkDir: t.TempDir()})
		return err
	}
	former, fresh := "former", "fresh"
	origin := map[string][]string{} // of each part's bytes
	for which := range forms {
		to := filepath.Join(t.TempDir(), "release.tar")
		must(t, write(to, which))
		doc, _ := writtenParts(t, to)
		for _, p := range doc.Parts {
			origin[string(p.Digest)] = append(origin[string(p.Digest)], which)
		}
	}
	for n := 0; ; n++ {
		to := filepath.Join(t.TempDir(), "release.tar")
		must(t, write(to, former))
		stopAt := partName(to, n)
		if !exists(stopAt) {
			break
		}
		// A folder that is not empty cannot be removed, nor be replaced.
		must(t, os.Rename(stopAt, stopAt+"~"), os.MkdirAll(filepath.Join(stopAt, "x"), 0o755))
		if write(to, fresh) == nil {
			t.Fatal("nothing stopped it")
		}
		seen := map[string]bool{}
		left, _ := filepath.Glob(to + ".[0-9][0-9][0-9]")
		for _, l := range left {
			if raw, err := os.ReadFile(l); err == nil {
				if of := origin[string(digest.FromBytes(raw))]; len(of) == 1 { // some are the same in both
					seen[of[0]] = true
				}
			}
		}
		if seen[former] && seen[fresh] || exists(to+partsSuffix) {
			t.Errorf("stopped at part %d: parts of %v, list %v", n+1, seen, exists(to+partsSuffix))
		}
		must(t, os.RemoveAll(stopAt), os.Rename(stopAt+"~", stopAt))
		must(t, write(to, fresh))
		if err := verified(t, to); err != nil {
			t.Errorf("stopped at part %d, then again: %v", n+1, err)
		}
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
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
