package bundle

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Whatever Write writes, Open reads as the same artifacts, and every blob is right.
func TestWrittenOpens(t *testing.T) {
	sign := func(o WriteOptions) WriteOptions {
		o.Sign, o.Created = signsAs("me"), time.Unix(1e9, 0)
		return o
	}
	for name, c := range map[string]struct {
		src *memorySource
		o   WriteOptions
	}{
		"tar":            {release1(t, asGzip, true), WriteOptions{Application: "liver", Version: "1.2", Tool: "test"}},
		"signed":         {release1(t, asGzip, true), sign(WriteOptions{})},
		"parts":          {release1(t, asGzip, true), WriteOptions{Split: 3000}},
		"signed parts":   {release1(t, asPlain, true), sign(WriteOptions{Split: 700})},
		"folder":         {release1(t, asGzip, true), WriteOptions{Folder: true}},
		"composed":       {release1(t, asPlain, false), WriteOptions{}},
		"zstd":           {release1(t, asZstd, true), WriteOptions{}},
		"recompressed":   {release1(t, asZstd, true), WriteOptions{Recompress: true}},
		"not compressed": {release1(t, asPlain, true), WriteOptions{Compression: None}},
		"many files":     {manyFiles(12000), WriteOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "release.tar")
			c.o.WorkDir = t.TempDir()
			w, err := Write(t.Context(), c.src, to, c.o)
			if err != nil {
				t.Fatal(err)
			}
			b := opened(t, to)
			if b.Digest() != w.Index || (len(b.Signature()) > 0) != w.Signed {
				t.Errorf("index %s, signature %q; written %s", b.Digest(), b.Signature(), w.Index)
			}
			sameArtifacts(t, b, w)
			if err := b.Verify(t.Context(), nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func manyFiles(n int) *memorySource {
	s := newMemorySource()
	var paths []string
	for i := range n {
		paths = append(paths, fmt.Sprintf("1/%05d", i))
	}
	s.addModel("many", "v1", paths...)
	return s
}

func opened(t testing.TB, path string) *Bundle {
	t.Helper()
	b, err := Open(t.Context(), path, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// sameArtifacts compares what a bundle has with what was said of it when it was written.
func sameArtifacts(t testing.TB, b *Bundle, w Written) {
	t.Helper()
	got, err := b.Artifacts(t.Context(), manifest.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	want := writtenArtifacts(w)
	for n := range got.Images {
		want.Images[n].Origin, want.Images[n].LeftBehind = got.Images[n].Origin, nil
	}
	for n := range got.Models {
		want.Models[n].Origin = got.Models[n].Origin
	}
	if !reflect.DeepEqual(got.Images, want.Images) || !reflect.DeepEqual(got.Models, want.Models) {
		t.Errorf("read\n%+v\nwritten\n%+v", got, want)
	}
	if !reflect.DeepEqual(got.Lacking, digestsIn(w.LeftOut)) {
		t.Errorf("lacks %v, left out were %v", got.Lacking, digestsIn(w.LeftOut))
	}
}

// A bundle that was read is the base of the next one; of that only what changed is in it.
func TestSinceAnOpenBundle(t *testing.T) {
	dir, work := t.TempDir(), t.TempDir()
	first := filepath.Join(dir, "1.tar")
	if _, err := Write(t.Context(), release1(t, asPlain, false), first, WriteOptions{WorkDir: work}); err != nil {
		t.Fatal(err)
	}
	base := opened(t, first)
	a, err := base.Artifacts(t.Context(), manifest.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := Write(t.Context(), version2(t, asPlain), filepath.Join(dir, "2.tar"), WriteOptions{WorkDir: work, Base: Since(a, base.Digest(), "1.tar")})
	if err != nil {
		t.Fatal(err)
	}
	b := opened(t, filepath.Join(dir, "2.tar"))
	sameArtifacts(t, b, w)
	if c := b.Contents(); c.Base != base.Digest() || c.BaseName != "1.tar" || c.Lacking != 3 {
		t.Errorf("contents: %+v", c)
	}
	changed := w.Images[0].Layers[1].Size + w.Models[0].Files[2].Size
	if info, err := os.Stat(filepath.Join(dir, "2.tar")); err != nil || info.Size() > changed+64<<10 {
		t.Errorf("%d bytes, %v; what changed has %d", info.Size(), err, changed)
	}
}

// What could not be read is not written.
func TestTextsAreChecked(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for _, o := range []WriteOptions{
		{Application: long}, {Version: "1\n2"}, {Tool: "\x1b[31m"}, {Base: &Base{Name: long}}, {Split: 4096, Application: "good"},
	} {
		o.WorkDir = t.TempDir()
		to := filepath.Join(t.TempDir(), ".hidden")
		if _, err := Write(t.Context(), release1(t, asGzip, true), to, o); manifest.KindOf(err) != manifest.KindUsage {
			t.Errorf("%.40q %q %q, parts of %d: %v", o.Application, o.Version, o.Tool, o.Split, err)
		}
	}
}
