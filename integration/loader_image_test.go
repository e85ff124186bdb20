//go:build linux

package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// handmade is an image made by hand, so that each part of it can be wrong.
type handmade struct {
	manifest.Image
	blobs map[manifest.Digest][]byte
}

// layerTar returns a layer with one file of n random bytes, the same for the same seed.
func layerTar(t testing.TB, name string, seed uint64, n int) []byte {
	t.Helper()
	raw := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 7))
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	return fileTar(t, name, raw, 0o644)
}

func fileTar(t testing.TB, name string, raw []byte, mode int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(raw)), Mode: mode, ModTime: time.Unix(1700000000, 0)}))
	_, err := w.Write(raw)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

// sleeperTar returns a layer with a program that does nothing for a long time.
func sleeperTar(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	source := "package main\n\nimport \"time\"\n\nfunc main() { time.Sleep(time.Hour) }\n"
	must(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o644))
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "sleeper"), filepath.Join(dir, "main.go"))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build sleeper: %v: %s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "sleeper"))
	must(t, err)
	return fileTar(t, "sleeper", raw, 0o755)
}

// codec says how the layers of a handmade image are compressed; "" leaves them as they are.
type codec string

func (c codec) pack(t testing.TB, raw []byte) (blob []byte, mediaType string) {
	t.Helper()
	var b bytes.Buffer
	switch c {
	case "":
		return raw, ocispec.MediaTypeImageLayer
	case "gzip":
		w := gzip.NewWriter(&b)
		_, err := w.Write(raw)
		must(t, err)
		must(t, w.Close())
		return b.Bytes(), ocispec.MediaTypeImageLayerGzip
	case "zstd":
		w, err := zstd.NewWriter(&b)
		must(t, err)
		_, err = w.Write(raw)
		must(t, err)
		must(t, w.Close())
		return b.Bytes(), ocispec.MediaTypeImageLayerZstd
	}
	t.Fatalf("unknown codec %q", c)
	return nil, ""
}

// makeImage makes an image for this machine of the uncompressed layers. With keep it has a manifest of its own.
func makeImage(t testing.TB, ref string, c codec, keep bool, layers ...[]byte) *handmade {
	t.Helper()
	img := &handmade{blobs: map[manifest.Digest][]byte{}}
	img.Ref = ref
	img.Platform = manifest.Platform{OS: "linux", Architecture: "amd64"}
	for _, raw := range layers {
		blob, mediaType := c.pack(t, raw)
		d := img.add(blob)
		d.MediaType = mediaType
		img.Layers = append(img.Layers, manifest.Layer{Descriptor: d, DiffID: digest.FromBytes(raw), Unpacked: int64(len(raw))})
	}
	img.describe(t, keep)
	return img
}

// describe writes configuration and manifest for the layers and platform as they are.
func (i *handmade) describe(t testing.TB, keep bool) {
	t.Helper()
	created := time.Unix(1700000000, 0).UTC()
	config := ocispec.Image{Created: &created, Platform: i.Platform, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: i.DiffIDs()}}
	config.Config.Cmd = []string{"/sleeper"}
	config.Config.Volumes = map[string]struct{}{"/data": {}}
	for range i.Layers {
		config.History = append(config.History, ocispec.History{Created: &created, CreatedBy: "test"})
	}
	raw, err := json.Marshal(config)
	must(t, err)
	i.Config = i.add(raw)
	i.Config.MediaType = ocispec.MediaTypeImageConfig
	if !keep {
		return
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: i.Config}
	for _, l := range i.Layers {
		m.Layers = append(m.Layers, l.Descriptor)
	}
	raw, err = json.Marshal(m)
	must(t, err)
	i.Manifest = i.add(raw)
	i.Manifest.MediaType = ocispec.MediaTypeImageManifest
}

func (i *handmade) add(raw []byte) manifest.Descriptor {
	d := manifest.Descriptor{Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	i.blobs[d.Digest] = raw
	return d
}

// handFeed yields the blobs of a plan from handmade images. Its hooks may spoil them.
type handFeed struct {
	plan   manifest.Plan
	blobs  map[manifest.Digest][]byte
	spoil  func(d manifest.Digest, raw []byte) []byte // what is yielded instead of raw
	before func(n int, d manifest.Descriptor) error   // runs before a blob is yielded

	queue map[int][]manifest.Descriptor
	sent  int64
}

func newHandFeed(p manifest.Plan, images ...*handmade) *handFeed {
	f := &handFeed{plan: p, blobs: map[manifest.Digest][]byte{}, queue: map[int][]manifest.Descriptor{}}
	for _, i := range images {
		for d, raw := range i.blobs {
			f.blobs[d] = raw
		}
	}
	for n, ip := range p.Images {
		if ip.Action != manifest.ActionLoad {
			continue
		}
		seen := map[manifest.Digest]bool{}
		for _, l := range ip.Layers {
			if !l.Present && !seen[l.Digest] {
				seen[l.Digest] = true
				f.queue[n] = append(f.queue[n], l.Descriptor)
			}
		}
		f.queue[n] = append(f.queue[n], ip.Image.Config)
		if ip.Manifest.Digest != "" {
			f.queue[n] = append(f.queue[n], ip.Manifest)
		}
	}
	return f
}

func (f *handFeed) Next(ctx context.Context, n int) (manifest.Descriptor, io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return manifest.Descriptor{}, nil, err
	}
	if len(f.queue[n]) == 0 {
		return manifest.Descriptor{}, nil, io.EOF
	}
	d := f.queue[n][0]
	f.queue[n] = f.queue[n][1:]
	raw := f.blobs[d.Digest]
	d.Size = int64(len(raw))
	if f.before != nil {
		if err := f.before(n, d); err != nil {
			return d, nil, err
		}
	}
	if f.spoil != nil {
		raw = f.spoil(d.Digest, raw)
	}
	f.sent += int64(len(raw))
	return d, io.NopCloser(bytes.NewReader(raw)), nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keeperHash is the part of a keeper's name that tells apart names whose last part is the same.
func keeperHash(ref string) string { return digest.FromString(ref).Encoded()[:8] }
