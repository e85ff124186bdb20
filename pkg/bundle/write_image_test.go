package bundle

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// What is compressed keeps its bytes, what is not is compressed as asked, and the configuration never changes.
func TestLayers(t *testing.T) {
	for name, c := range map[string]struct {
		form     form
		own      bool
		o        WriteOptions
		kept     bool // layers and manifest are the source's own
		magic    string
		warnings int
	}{
		"gzip":                  {asGzip, true, WriteOptions{}, true, "\x1f\x8b", 0},
		"gzip, asked zstd":      {asGzip, true, WriteOptions{Compression: Zstd}, true, "\x1f\x8b", 0},
		"gzip, no manifest":     {asGzip, false, WriteOptions{}, false, "\x1f\x8b", 0},
		"zstd":                  {asZstd, true, WriteOptions{}, true, "\x28\xb5\x2f\xfd", 1},
		"zstd, recompressed":    {asZstd, true, WriteOptions{Recompress: true}, false, "\x1f\x8b", 1},
		"gzip, recompressed":    {asGzip, true, WriteOptions{Recompress: true}, true, "\x1f\x8b", 0},
		"plain":                 {asPlain, true, WriteOptions{}, false, "\x1f\x8b", 0},
		"plain, no manifest":    {asPlain, false, WriteOptions{}, false, "\x1f\x8b", 0},
		"plain, asked none":     {asPlain, true, WriteOptions{Compression: None}, true, "base\x00", 0},
		"plain, asked zstd":     {asPlain, false, WriteOptions{Compression: Zstd}, false, "\x28\xb5\x2f\xfd", 1},
		"plain, none, composed": {asPlain, false, WriteOptions{Compression: None}, false, "base\x00", 0},
	} {
		t.Run(name, func(t *testing.T) {
			src := newMemorySource()
			img := src.addImage(t, "app:1", c.form, c.own, "base", "app")
			w, all, _ := writtenTar(t, src, c.o)
			got := w.Images[0]
			if got.Config.Digest != img.Config.Digest {
				t.Errorf("the configuration became %s", got.Config.Digest)
			}
			if got.Composed == c.kept || (got.Manifest.Digest == img.Manifest.Digest) != c.kept {
				t.Errorf("composed %v, manifest %s, the source's %q", got.Composed, got.Manifest.Digest, img.Manifest.Digest)
			}
			m := parsed[ocispec.Manifest](t, all, blobPath(got.Manifest.Digest))
			for n, l := range m.Layers {
				raw := fileOf(t, all, blobPath(l.Digest))
				if n == 0 && !strings.HasPrefix(string(raw), c.magic) {
					t.Errorf("the first layer begins with %q", raw[:8])
				}
				if int64(len(raw)) != l.Size || !bytes.Equal(unpackedOf(t, l.MediaType, raw), layerTar([]string{"base", "app"}[n])) {
					t.Errorf("layer %d is another, or %s is wrong", n, l.MediaType)
				}
				if got.Layers[n].Unpacked != int64(len(layerTar("base"))) && !strings.Contains(l.MediaType, "zstd") {
					t.Errorf("layer %d unpacks to %d by the annotation", n, got.Layers[n].Unpacked)
				}
			}
			if len(w.Warnings) != c.warnings {
				t.Errorf("warnings: %q", w.Warnings)
			}
		})
	}
}

func unpackedOf(t testing.TB, mediaType string, raw []byte) []byte {
	t.Helper()
	if strings.HasSuffix(mediaType, "gzip") {
		return gunzip(t, raw)
	}
	r, err := inflater(bytes.NewReader(raw), mediaType)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return allOf(t, r)
}

// A layer is compressed once: the next bundle finds it, and does not even open the source. What has rotted in the cache is
// noticed and made again.
func TestPackedOnce(t *testing.T) {
	dir := t.TempDir()
	write := func(src *memorySource) ([]byte, error) {
		to := filepath.Join(t.TempDir(), "x.tar")
		if _, err := Write(t.Context(), src, to, WriteOptions{WorkDir: dir}); err != nil {
			return nil, err
		}
		raw, err := os.ReadFile(to)
		return raw, err
	}
	fresh := func() (*memorySource, manifest.Layer) {
		src := newMemorySource()
		return src, src.addImage(t, "app:1", asPlain, false, "base").Layers[0]
	}
	src, l := fresh()
	first, err := write(src)
	if err != nil || src.opened[l.Digest] != 1 {
		t.Fatalf("%v, layer opened %d times", err, src.opened[l.Digest])
	}
	src, _ = fresh()
	second, err := write(src)
	if err != nil || src.opened[l.Digest] != 0 || !bytes.Equal(first, second) {
		t.Errorf("%v, layer opened %d times, same bytes: %v", err, src.opened[l.Digest], bytes.Equal(first, second))
	}
	files, _ := filepath.Glob(filepath.Join(dir, packedRoom, "*"))
	if len(files) != 2 {
		t.Fatalf("the cache has %v, want a layer and what is known of it", files)
	}
	for _, f := range files { // rotten, with the same size
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if raw[0] == '{' {
			continue
		}
		raw[len(raw)/2] ^= 1
		if err := os.WriteFile(f, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src, _ = fresh()
	if _, err := write(src); manifest.KindOf(err) != manifest.KindIntegrity {
		t.Errorf("rotten: %v", err)
	}
	if third, err := write(src); err != nil || !bytes.Equal(first, third) {
		t.Errorf("made again: %v, same bytes: %v", err, bytes.Equal(first, third))
	}
}

// A layer that another process removed from the cache between its compression and its writing is made again.
func TestPackedGone(t *testing.T) {
	src := newMemorySource()
	l := src.addImage(t, "app:1", asPlain, false, "base").Layers[0]
	p := &packer{src: src, dir: t.TempDir()}
	defer p.close()
	got, err := p.pack(t.Context(), l, Gzip)
	if err != nil {
		t.Fatal(err)
	}
	p.drop(got.Digest)
	r, err := p.read(t.Context(), l, Gzip, got.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if raw := allOf(t, r); digest.FromBytes(raw) != got.Digest {
		t.Errorf("it became %s, was %s", digest.FromBytes(raw), got.Digest)
	}
}

// What the source gives is not believed.
func TestWrongBytes(t *testing.T) {
	for name, c := range map[string]struct {
		form   form
		o      WriteOptions
		damage func(*memorySource, manifest.Image) manifest.Digest
	}{
		"plain layer":           {asPlain, WriteOptions{}, func(_ *memorySource, i manifest.Image) manifest.Digest { return i.Layers[0].Digest }},
		"gzip layer":            {asGzip, WriteOptions{}, func(_ *memorySource, i manifest.Image) manifest.Digest { return i.Layers[0].Digest }},
		"plain layer, as it is": {asPlain, WriteOptions{Compression: None}, func(_ *memorySource, i manifest.Image) manifest.Digest { return i.Layers[1].Digest }},
		"zstd layer":            {asZstd, WriteOptions{Recompress: true}, func(_ *memorySource, i manifest.Image) manifest.Digest { return i.Layers[0].Digest }},
		"configuration":         {asGzip, WriteOptions{}, func(_ *memorySource, i manifest.Image) manifest.Digest { return i.Config.Digest }},
		"manifest":              {asGzip, WriteOptions{}, func(_ *memorySource, i manifest.Image) manifest.Digest { return i.Manifest.Digest }},
		"file": {asGzip, WriteOptions{}, func(s *memorySource, _ manifest.Image) manifest.Digest {
			return s.artifacts.Models[0].Files[0].Digest
		}},
	} {
		for how, change := range map[string]func([]byte) []byte{
			"other": func(b []byte) []byte { b = slices.Clone(b); b[len(b)/2] ^= 1; return b },
			"short": func(b []byte) []byte { return b[:len(b)-1] },
			"long":  func(b []byte) []byte { return append(slices.Clone(b), 0) },
			"empty": func([]byte) []byte { return nil },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				src := release1(t, c.form, true)
				d := c.damage(src, src.artifacts.Images[0])
				src.blobs[d] = change(src.blobs[d])
				dir := t.TempDir()
				c.o.WorkDir = t.TempDir()
				_, err := Write(t.Context(), src, filepath.Join(dir, "x.tar"), c.o)
				if kind := manifest.KindOf(err); kind != manifest.KindIntegrity {
					t.Errorf("%v", err)
				}
				if left, _ := os.ReadDir(dir); len(left) != 0 {
					t.Errorf("left: %v", left)
				}
			})
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	o := WriteOptions{WorkDir: t.TempDir(), Events: func(e manifest.Event) {
		if e.Step == manifest.StepWrite && e.Done > 0 {
			cancel()
		}
	}}
	_, err := Write(ctx, release1(t, asGzip, true), filepath.Join(dir, "x.tar"), o)
	if manifest.KindOf(err) != manifest.KindInterrupted {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
