package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// memorySource is a Source whose blobs are in memory.
type memorySource struct {
	artifacts manifest.Artifacts
	blobs     map[manifest.Digest][]byte
	unsized   bool // as an engine that tells sizes only while it saves
	opened    map[manifest.Digest]int
}

func newMemorySource() *memorySource {
	return &memorySource{blobs: map[manifest.Digest][]byte{}, opened: map[manifest.Digest]int{}}
}

func (s *memorySource) Artifacts(context.Context, manifest.Platform) (manifest.Artifacts, error) {
	return s.artifacts, nil
}

func (s *memorySource) Open(_ context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error) {
	raw, ok := s.blobs[d.Digest]
	if !ok {
		return nil, manifest.Fail(manifest.KindNotFound, "read blob", "%s", d.Digest)
	}
	s.opened[d.Digest]++
	return memoryBlob{bytes.NewReader(raw[min(offset, int64(len(raw))):]), int64(len(raw))}, nil
}

type memoryBlob struct {
	io.Reader
	size int64
}

func (b memoryBlob) Size() int64 { return b.size }
func (memoryBlob) Close() error  { return nil }

func (s *memorySource) put(mediaType string, raw []byte) manifest.Descriptor {
	d := manifest.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	s.blobs[d.Digest] = raw
	return d
}

// The forms in which a test's source may have its layers.
var (
	asPlain = form{ocispec.MediaTypeImageLayer, func(b []byte) []byte { return b }}
	asGzip  = form{ocispec.MediaTypeImageLayerGzip, zipped}
	asZstd  = form{ocispec.MediaTypeImageLayerZstd, zstdOf}
)

type form struct {
	mediaType string
	pack      func([]byte) []byte
}

func zstdOf(raw []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(raw, nil)
}

// layerTar is a tar of one file; the same name gives the same bytes.
func layerTar(name string) []byte {
	r := rand.New(rand.NewPCG(uint64(len(name)), uint64(name[len(name)-1])))
	data := make([]byte, 5000)
	for n := range data {
		data[n] = "abcdefgh"[r.IntN(8)]
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg})
	w.Write(data)
	w.Close()
	return buf.Bytes()
}

// addImage adds an image of the named layers in form f. Its manifest is there only with own.
func (s *memorySource) addImage(t testing.TB, ref string, f form, own bool, layers ...string) manifest.Image {
	t.Helper()
	img := manifest.Image{Ref: ref, Platform: manifest.Platform{OS: "linux", Architecture: "amd64"}}
	config := ocispec.Image{Platform: img.Platform, Author: ref}
	config.RootFS.Type = "layers"
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Annotations: map[string]string{"kept": "byte for byte"}}
	m.SchemaVersion = 2
	for _, name := range layers {
		raw := layerTar(name)
		l := manifest.Layer{Descriptor: s.put(f.mediaType, f.pack(raw)), DiffID: digest.FromBytes(raw)}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
		m.Layers = append(m.Layers, l.Descriptor)
		if s.unsized {
			l.Unpacked, l.Size = l.Size/2, manifest.UnknownSize
		}
		img.Layers = append(img.Layers, l)
	}
	img.Config = s.put(ocispec.MediaTypeImageConfig, jsonOf(config))
	if m.Config = img.Config; own {
		img.Manifest = s.put(ocispec.MediaTypeImageManifest, jsonOf(m))
	}
	if s.unsized {
		img.Config.Size = manifest.UnknownSize
	}
	s.artifacts.Images = append(s.artifacts.Images, img)
	return img
}

// addModel adds a model of these files, of which each holds its own name and content.
func (s *memorySource) addModel(name string, content string, paths ...string) manifest.Model {
	m := manifest.Model{Name: name, Dirs: []string{"1", "1/empty"}, After: []string{"other"}, Origin: "/somewhere/" + name}
	for _, p := range paths {
		m.Files = append(m.Files, manifest.File{Path: p, Descriptor: s.put("", []byte(p+content))})
	}
	s.artifacts.Models = append(s.artifacts.Models, m)
	return m
}

// release1 is a source of two images that share their base, and a model.
func release1(t testing.TB, f form, own bool) *memorySource {
	s := newMemorySource()
	s.addImage(t, "app:1", f, own, "base", "app")
	s.addImage(t, "registry.example.com/team/other:2", f, own, "base", "other")
	s.addModel("liver", "v1", "1/model.bin", "1/weights", "config.pbtxt")
	return s
}

// entryOf is one entry of a written tar.
type entryOf struct {
	header *tar.Header
	data   []byte
}

// writtenTar writes src to a file and reads that.
func writtenTar(t testing.TB, src Source, o WriteOptions) (Written, []entryOf, []byte) {
	t.Helper()
	if o.WorkDir == "" {
		o.WorkDir = t.TempDir()
	}
	to := filepath.Join(t.TempDir(), "release.tar")
	w, err := Write(t.Context(), src, to, o)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if w.Size != int64(len(raw)) || len(w.Paths) != 1 || w.Paths[0] != to {
		t.Errorf("written is %d bytes at %v, the file has %d at %s", w.Size, w.Paths, len(raw), to)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(to), ".*"))
	if len(left) != 0 {
		t.Errorf("left beside: %v", left)
	}
	return w, entriesOf(t, raw), raw
}

func entriesOf(t testing.TB, raw []byte) []entryOf {
	t.Helper()
	var all []entryOf
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entryOf{h, data})
	}
}

// fileOf finds an entry's bytes.
func fileOf(t testing.TB, all []entryOf, name string) []byte {
	t.Helper()
	for _, e := range all {
		if e.header.Name == name {
			return e.data
		}
	}
	t.Fatalf("the bundle has no %s", name)
	return nil
}

// parsed reads a JSON entry.
func parsed[T any](t testing.TB, all []entryOf, name string) (v T) {
	t.Helper()
	if err := json.Unmarshal(fileOf(t, all, name), &v); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", name, err))
	}
	return v
}

func itoa(n int) string { return fmt.Sprint(n) }
