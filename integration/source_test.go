//go:build linux

package integration

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/pkg/manifest"
	images "github.com/clara-push/clara-push/pkg/source"
)

// opened opens images at their source and describes them.
func opened(t testing.TB, o images.Options, names ...string) (*images.Images, manifest.Artifacts) {
	t.Helper()
	s, err := images.Open(t.Context(), names, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the source: %v", err)
		}
	})
	a, err := s.Artifacts(t.Context(), manifest.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	return s, a
}

// blobsOf lists every blob of an image once, the manifest among them where there is one.
func blobsOf(img manifest.Image) []manifest.Descriptor {
	all := []manifest.Descriptor{img.Config}
	if img.Manifest.Digest != "" {
		all = append(all, img.Manifest)
	}
	for _, l := range img.Layers {
		if !slices.ContainsFunc(all, func(d manifest.Descriptor) bool { return d.Digest == l.Digest }) {
			all = append(all, l.Descriptor)
		}
	}
	return all
}

// readAll reads all blobs of an image at once, each whole and in two parts, and checks every byte.
func readAll(t testing.TB, s *images.Images, img manifest.Image) {
	t.Helper()
	var all sync.WaitGroup
	for _, d := range blobsOf(img) {
		all.Go(func() {
			size, err := readBlob(t.Context(), s, d, 0)
			if err != nil || (d.Size != manifest.UnknownSize && d.Size != size) {
				t.Errorf("%s: %d bytes, %v", d.Digest, size, err)
				return
			}
			for _, offset := range []int64{1, size / 2, size} {
				if _, err := readBlob(t.Context(), s, d, min(offset, size)); err != nil {
					t.Errorf("%s in two parts, the second from %d of %d: %v", d.Digest, offset, size, err)
				}
			}
		})
	}
	all.Wait()
}

// readBlob reads up to offset and then, by a second reader, from there to the end. It returns the blob's size.
func readBlob(ctx context.Context, s *images.Images, d manifest.Descriptor, offset int64) (int64, error) {
	h := digest.SHA256.Digester()
	var size int64
	for _, part := range []struct{ from, to int64 }{{0, offset}, {offset, math.MaxInt64}} {
		if part.from == part.to {
			continue
		}
		r, err := s.Open(ctx, d, part.from)
		if err != nil {
			return 0, err
		}
		n, err := io.Copy(h.Hash(), io.LimitReader(r, part.to-part.from))
		r.Close()
		if err != nil {
			return 0, err
		}
		if size = r.Size(); part.from+n != min(part.to, size) {
			return 0, fmt.Errorf("%d bytes from %d of a blob that says it has %d", n, part.from, size)
		}
	}
	if h.Digest() != d.Digest {
		return 0, fmt.Errorf("the bytes have the digest %s", h.Digest())
	}
	return size, nil
}

// same checks that what a source tells of an image is what docker save of it holds.
func same(t testing.TB, img manifest.Image, want saved) {
	t.Helper()
	var diffIDs, blobs []string
	for _, l := range img.Layers {
		diffIDs = append(diffIDs, string(l.DiffID))
		blobs = append(blobs, string(l.Digest))
	}
	if string(img.Config.Digest) != want.Config || !slices.Equal(diffIDs, want.DiffIDs) {
		t.Errorf("config %s, layers %v\nwant %s, %v", img.Config.Digest, diffIDs, want.Config, want.DiffIDs)
	}
	if img.Manifest.Digest != "" && (string(img.Manifest.Digest) != want.Manifest || !slices.Equal(blobs, want.Blobs)) {
		t.Errorf("manifest %s, blobs %v\nwant %s, %v", img.Manifest.Digest, blobs, want.Manifest, want.Blobs)
	}
}

func sourceImage(name string, seed uint64) lab.ImageSpec {
	return lab.ImageSpec{
		Name: name, Base: lab.Layer{Size: 12 << 20, Seed: 900 + seed},
		Layers: []lab.Layer{{Size: 3 << 20, Seed: seed, Content: lab.Random, Dir: "a"}, {Size: 1 << 20, Seed: seed + 1, Dir: "b"}},
	}
}

// An image in a local engine is described without being saved, read right from any place, and saved at most once, for
// all pushes together.
func TestSourceEngine(t *testing.T) {
	for n, k := range append(slices.Clone(lab.Dockers), lab.Podman) {
		t.Run(string(k), func(t *testing.T) {
			e := source(t, k)
			name := fmt.Sprintf("source-engine-%d:1", n)
			build(t, e, sourceImage(name, uint64(10*n)))
			want := save(t, e, name)
			if k != lab.ModernContainerd {
				want.Manifest = ""
			}
			p := newTap(t, e, nil)
			o := images.Options{Engine: p.Host(), CacheDir: t.TempDir()}
			wantSaves := 1
			if k == lab.ModernContainerd {
				o.Engine, wantSaves = e.Host(), 0 // a tap cannot pass on the content store's protocol
			}
			s, a := opened(t, o, name)
			img := a.Images[0]
			t.Logf("%s: %s, sizes %v", img.Ref, img.Origin, sizesOf(img))
			if img.Ref != name || img.Platform.OS != "linux" {
				t.Errorf("ref %s, platform %v", img.Ref, img.Platform)
			}
			same(t, img, want)
			if p.saves() != 0 {
				t.Errorf("describing the image saved it")
			}
			readAll(t, s, img)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			s, a = opened(t, o, name)
			same(t, a.Images[0], want)
			if slices.Contains(sizesOf(a.Images[0]), manifest.UnknownSize) {
				t.Errorf("sizes of the second push: %v", sizesOf(a.Images[0]))
			}
			readAll(t, s, a.Images[0])
			if p.saves() != wantSaves {
				t.Errorf("%d saves, want %d", p.saves(), wantSaves)
			}
		})
	}
}

func sizesOf(img manifest.Image) []int64 {
	sizes := []int64{img.Config.Size}
	for _, l := range img.Layers {
		sizes = append(sizes, l.Size)
	}
	return sizes
}

// What the cache has is not written again: a changed top layer adds just that.
func TestSourceCacheGrows(t *testing.T) {
	e := source(t, lab.Docker2010)
	o := images.Options{Engine: e.Host(), CacheDir: t.TempDir()}
	files := func() map[string]time.Time {
		all := map[string]time.Time{}
		entries, err := os.ReadDir(filepath.Join(o.CacheDir, "layers"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range entries {
			info, err := f.Info()
			if err != nil {
				t.Fatal(err)
			}
			all[f.Name()] = info.ModTime()
		}
		return all
	}
	push := func(seed uint64) {
		spec := sourceImage("source-grows:1", 50)
		spec.Layers[1].Seed = seed
		build(t, e, spec)
		s, a := opened(t, o, spec.Name)
		readAll(t, s, a.Images[0])
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	push(51)
	before := files()
	push(52)
	if added := len(files()) - len(before); added != 2 {
		t.Errorf("%d files were added, want the top layer and the configuration", added)
	}
}

// An engine that goes away during its save is a failure; when it is back, the same source reads on.
func TestSourceEngineDies(t *testing.T) {
	e := newEngine(t, lab.Docker2010, lab.EngineOptions{})
	spec := sourceImage("source-dies:1", 60)
	spec.Base.Size = 100 << 20 // saving it takes long enough
	build(t, e, spec)
	s, a := opened(t, images.Options{Engine: e.Host(), CacheDir: t.TempDir()}, spec.Name)
	img := a.Images[0]
	time.AfterFunc(100*time.Millisecond, func() { e.Kill() })
	_, err := readBlob(t.Context(), s, img.Config, 0)
	if k := manifest.KindOf(err); k != manifest.KindEngine && k != manifest.KindPermission { // while it saves, or before
		t.Errorf("killed during the save: %s: %v", k, err)
	}
	if err := e.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	readAll(t, s, img)
}

// A save that ends early without saying so is a failure, whatever the engine's status was.
func TestSourceSaveCutShort(t *testing.T) {
	for _, k := range []lab.Kind{lab.Docker2010, lab.ModernGraphdriver} {
		t.Run(string(k), func(t *testing.T) {
			e := source(t, k)
			spec := sourceImage("source-cut:1", 70)
			build(t, e, spec)
			var once sync.Once
			p := newTap(t, e, func(w http.ResponseWriter, r *http.Request) (answered bool) {
				if strings.HasSuffix(r.URL.Path, "/get") {
					once.Do(func() {
						answered = true
						resp, err := e.HTTP().Get("http://docker" + r.URL.RequestURI())
						if err != nil {
							t.Error(err)
							return
						}
						defer resp.Body.Close()
						io.CopyN(w, resp.Body, 6<<20)
					})
				}
				return answered
			})
			s, a := opened(t, images.Options{Engine: p.Host(), CacheDir: t.TempDir()}, spec.Name)
			if _, err := readBlob(t.Context(), s, a.Images[0].Config, 0); manifest.KindOf(err) != manifest.KindEngine {
				t.Errorf("cut short: %v", err)
			}
			readAll(t, s, a.Images[0])
			if p.saves() != 2 {
				t.Errorf("%d saves, want 2", p.saves())
			}
		})
	}
}

// Where the content store is closed to us, the engine saves the image and its digests stay.
func TestSourceWithoutContent(t *testing.T) {
	e := source(t, lab.ModernContainerd)
	spec := sourceImage("source-closed:1", 80)
	build(t, e, spec)
	want := save(t, e, spec.Name)
	p := newTap(t, e, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/grpc") && r.ProtoMajor == 1 {
			return false
		}
		http.Error(w, "not here", http.StatusNotFound)
		return true
	})
	s, a := opened(t, images.Options{Engine: p.Host(), CacheDir: t.TempDir()}, spec.Name)
	if a.Images[0].Ref != spec.Name || a.Images[0].Manifest.Digest == "" {
		t.Errorf("%+v", a.Images[0])
	}
	same(t, a.Images[0], want)
	readAll(t, s, a.Images[0])
	if p.saves() != 1 {
		t.Errorf("%d saves", p.saves())
	}
}

// A cache folder that is too small is told before the engine is asked to save, and when an archive turns out too large.
func TestSourceCacheTooSmall(t *testing.T) {
	e := source(t, lab.Docker2010)
	spec := sourceImage("source-small:1", 140)
	spec.Base = lab.Layer{Size: 80 << 20, Seed: 140}
	build(t, e, spec)
	dir := filepath.Join(theLab(t).Dir, "small-cache")
	lab.Skip(t, theLab(t).SmallFS(dir, 128))
	p := newTap(t, e, nil)
	s, a := opened(t, images.Options{Engine: p.Host(), CacheDir: dir}, spec.Name)
	if _, err := readBlob(t.Context(), s, a.Images[0].Config, 0); manifest.KindOf(err) != manifest.KindSpace {
		t.Errorf("a save that does not fit: %s: %v", manifest.KindOf(err), err)
	}
	if p.saves() != 0 {
		t.Errorf("the engine saved all the same")
	}
	plain := filepath.Join(t.TempDir(), "plain.tar")
	if _, err := e.Docker(t.Context(), "save", "-o", plain, spec.Name); err != nil {
		t.Fatal(err)
	}
	_, err := images.Open(t.Context(), []string{packed(t, plain, "zstd", "-1qk")}, images.Options{CacheDir: dir})
	if manifest.KindOf(err) != manifest.KindSpace {
		t.Errorf("an archive that does not fit: %s: %v", manifest.KindOf(err), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "layers", "*")); len(left) != 0 {
		t.Errorf("left in the cache: %v", left)
	}
}
