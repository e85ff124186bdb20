package source

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// Whatever an archive holds: an image that is described has blobs that read as their digests, or fail.
func FuzzArchive(f *testing.F) {
	m := makeImage(f, 60, 2, "amd64", unchanged)
	z := makeImage(f, 61, 2, "amd64", gzipped)
	for _, a := range []archive{m.docker("app:1"), z.docker("app:1"), m.oci("app:1"), z.oci("app:1"), m.savedPodman(), m.savedLegacy(m.dockerIDs)} {
		f.Add(a.tar(f))
	}
	f.Add(gzipped(m.docker("app:1").tar(f)))
	f.Add(zstded(m.docker("app:1").tar(f)))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(dir, "a.tar")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), []string{path}, Options{CacheDir: dir, As: "x:1"})
		if err != nil {
			return
		}
		defer s.Close()
		a, err := s.Artifacts(t.Context(), manifest.Platform{})
		if err != nil {
			return
		}
		for _, l := range a.Images[0].Layers {
			data, err := read(s, l.Descriptor, 0)
			if err == nil && digest.FromBytes(data) != l.Digest {
				t.Errorf("%s reads as something else", l.Digest)
			}
		}
	})
}

// Whatever an engine saves: a blob that is given out is the one that was asked for.
func FuzzSave(f *testing.F) {
	m := makeImage(f, 62, 2, "amd64", unchanged)
	for _, a := range []archive{m.saved(), m.savedPodman(), m.savedLegacy(m.dockerIDs), m.savedLegacy(idsInOrder(2, 1))} {
		f.Add(a.tar(f))
	}
	img := engine.Image{ID: string(m.configDigest()), DiffIDs: m.diffIDs()}
	img.Config = manifest.Descriptor{Digest: m.configDigest(), Size: manifest.UnknownSize}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var saves atomic.Int32
		o := &saveOrigin{img: img, cache: newCache(t, t.TempDir()), save: gives(raw, &saves)}
		o.ctx, o.stop = context.WithCancel(t.Context())
		defer o.close()
		for _, d := range append(m.diffIDs(), m.configDigest()) {
			r, err := o.open(t.Context(), manifest.Descriptor{Digest: d, Size: manifest.UnknownSize}, 0)
			if err != nil {
				continue
			}
			var got bytes.Buffer
			if _, err := io.Copy(&got, r); err == nil && digest.FromBytes(got.Bytes()) != d {
				t.Errorf("%s reads as something else", d)
			}
		}
	})
}
