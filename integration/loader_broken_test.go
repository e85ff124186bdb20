//go:build linux

package integration

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// loadBroken gives the containerd store an image that lacks the layers in without, under its name, as a careless docker
// load does.
func (l *landing) loadBroken(t *testing.T, img *handmade, without ...manifest.Digest) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	file := func(name string, raw []byte) {
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(raw)), Mode: 0o644}))
		_, err := w.Write(raw)
		must(t, err)
	}
	file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	for d, raw := range img.blobs {
		if !slices.Contains(without, d) {
			file("blobs/sha256/"+d.Encoded(), raw)
		}
	}
	d := img.Manifest
	d.Annotations = map[string]string{"io.containerd.image.name": "docker.io/library/" + img.Ref}
	raw, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []manifest.Descriptor{d}})
	must(t, err)
	file("index.json", raw)
	must(t, w.Close())
	write := func(_ context.Context, w io.Writer) error {
		_, err := b.WriteTo(w)
		return err
	}
	if _, err := l.api.Load(t.Context(), write); manifest.KindOf(err) != manifest.KindStale {
		t.Fatalf("the engine took an image without a layer: %v", err)
	}
}

func onContainerd(t *testing.T) *landing {
	t.Helper()
	return landOn(t, lab.ModernContainerd)
}

// TestLoaderRepairs pushes over a name that points at a broken image, and a broken image of the very same digest.
func TestLoaderRepairs(t *testing.T) {
	l := onContainerd(t)
	img := makeImage(t, "app:1", "gzip", true, l.tarOf(t, 1000), l.tarOf(t, 10))
	l.loadBroken(t, img, img.Layers[0].Digest)
	inv, err := l.host.Inventory(t.Context(), manifest.Ask(manifest.Artifacts{Images: []manifest.Image{img.Image}}))
	must(t, err)
	if was, ok := inv.ByRef("app:1"); !ok || !slices.Equal(was.Missing, []manifest.Digest{img.Layers[0].Digest}) {
		t.Fatalf("the inventory does not see that it is broken: %+v", was)
	}
	p, _ := l.push(t, manifest.Options{Keep: 1}, img)
	if ip := p.Images[0]; ip.Action != manifest.ActionLoad || ip.Layers[0].Present || !ip.Layers[1].Present {
		t.Errorf("plan %+v", ip)
	}
	if p := l.plan(t, manifest.Options{}, img); !p.Nothing() {
		t.Errorf("not whole afterwards: %s", p.Images[0].Action)
	}

	broken := makeImage(t, "app:1", "gzip", true, l.tarOf(t, 1000))
	l.loadBroken(t, broken, broken.Layers[0].Digest)
	l.push(t, manifest.Options{Keep: 1}, img)
}

// TestLoaderSnapshotIsNoBlob offers a layer whose snapshot the engine has, but not in this compression: the engine prints
// success, creates containers, and could never save the image.
func TestLoaderSnapshotIsNoBlob(t *testing.T) {
	l := onContainerd(t)
	base := l.tarOf(t, 1000)
	l.push(t, manifest.Options{}, makeImage(t, "app:1", "gzip", true, base))
	plain := makeImage(t, "app:1", "zstd", true, base)
	p := l.plan(t, manifest.Options{}, plain)
	if p.Images[0].Layers[0].Present {
		t.Fatal("another compression passes for the same blob")
	}
	p.Images[0].Layers[0].Present = true
	err := l.fails(t, manifest.KindStale, p, newHandFeed(p, plain))
	var f *manifest.Failure
	if !errors.As(err, &f) || !slices.Contains(f.Absent, plain.Layers[0].Digest) {
		t.Errorf("absent %v", f.Absent)
	}
	p, _ = l.push(t, manifest.Options{ReuseLayers: true}, makeImage(t, "app:2", "zstd", false, base, l.tarOf(t, 10)))
	if !p.Images[0].Layers[0].Present {
		t.Error("--reuse-layers does not use the layer in another compression")
	}
}

// TestLoaderEngineKilled kills the engine in the middle of a load.
func TestLoaderEngineKilled(t *testing.T) {
	for _, kind := range lab.Dockers {
		t.Run(string(kind), func(t *testing.T) {
			e := newEngine(t, kind, lab.EngineOptions{})
			l := land(t, e)
			good := makeImage(t, "app:1", "gzip", true, l.tarOf(t, 1000))
			l.push(t, manifest.Options{}, good)
			next := makeImage(t, "app:1", "gzip", true, l.tarOf(t, 1<<20), l.tarOf(t, 1<<20))
			p := l.plan(t, manifest.Options{}, next)
			f := newHandFeed(p, next)
			f.before = func(_ int, d manifest.Descriptor) error {
				if d.Digest == next.Layers[1].Digest {
					return e.Kill()
				}
				return nil
			}
			_, err := l.host.Apply(t.Context(), p, f, func() {}, nil)
			t.Log(err)
			if k := manifest.KindOf(err); k != manifest.KindEngine && k != manifest.KindPermission {
				t.Errorf("got %s: %v", k, err)
			}
			must(t, e.Start(t.Context()))
			l.bears(t, "app:1", good)
			l.push(t, manifest.Options{}, next)
		})
	}
}

// TestLoaderFullEngine loads more than fits, planned and unplanned.
func TestLoaderFullEngine(t *testing.T) {
	for _, kind := range lab.Dockers {
		t.Run(string(kind), func(t *testing.T) {
			l := land(t, newEngine(t, kind, lab.EngineOptions{DataMiB: 64}))
			good := makeImage(t, "app:1", "", true, l.tarOf(t, 1000))
			l.push(t, manifest.Options{}, good)
			big := makeImage(t, "app:1", "", true, l.tarOf(t, 90<<20))
			inv, err := l.host.Inventory(t.Context(), manifest.Ask(manifest.Artifacts{Images: []manifest.Image{big.Image}}))
			must(t, err)
			if _, err := manifest.Diff(manifest.Artifacts{Images: []manifest.Image{big.Image}}, inv, manifest.Options{}); manifest.KindOf(err) != manifest.KindSpace {
				t.Errorf("the plan: %v", err)
			}
			inv.Data.Free = manifest.UnknownSize // as if nobody could tell
			p, err := manifest.Diff(manifest.Artifacts{Images: []manifest.Image{big.Image}}, inv, manifest.Options{})
			must(t, err)
			l.fails(t, manifest.KindSpace, p, newHandFeed(p, big))
			l.bears(t, "app:1", good)
			l.push(t, manifest.Options{}, makeImage(t, "app:1", "", true, l.tarOf(t, 1000)))
		})
	}
}
