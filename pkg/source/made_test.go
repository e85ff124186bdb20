package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// entry is one entry of an archive under construction.
type entry struct {
	name string
	data []byte
	link string // a symbolic link when not empty
	kind byte   // of a special entry; 0 is a file
	hard bool
}

// archive is a list of entries; a test changes it before it is written.
type archive []entry

func (a *archive) add(name string, data []byte) { *a = append(*a, entry{name: name, data: data}) }

func (a archive) index(name string) int {
	return slices.IndexFunc(a, func(e entry) bool { return e.name == name })
}

func (a archive) without(name string) archive {
	n := a.index(name)
	return slices.Delete(slices.Clone(a), n, n+1)
}

func (a archive) with(name string, data []byte) archive {
	b := slices.Clone(a)
	if n := b.index(name); n >= 0 {
		b[n].data = data
		return b
	}
	b.add(name, data)
	return b
}

// tar writes the archive as a tar.
func (a archive) tar(t testing.TB) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range a {
		if err := w.WriteHeader(e.header()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func (e entry) header() *tar.Header {
	h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.data)), Typeflag: tar.TypeReg}
	if e.kind != 0 {
		h.Typeflag = e.kind
	}
	if e.link != "" {
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		if e.hard {
			h.Typeflag = tar.TypeLink
		}
	}
	return h
}

// folder writes the archive as a folder.
func (a archive) folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, e := range a {
		name := filepath.Join(dir, filepath.FromSlash(e.name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, e.data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func file(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func gzipped(data []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(data)
	w.Close()
	return buf.Bytes()
}

func zstded(data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(data, nil)
}

func unchanged(data []byte) []byte { return data }

// made is an image made for a test: its blobs by digest, and what a source should say of it.
type made struct {
	config []byte
	plain  [][]byte // layers, uncompressed
	layers [][]byte // layers as they are stored
	types  []string
	arch   string
}

// makeImage makes an image of n layers of which each is a tar of some random bytes; seed tells it from others.
func makeImage(t testing.TB, seed uint64, n int, arch string, pack func([]byte) []byte) made {
	t.Helper()
	m := made{arch: arch}
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range n {
		data := make([]byte, 3000+1000*i)
		for j := range data {
			data[j] = byte(random.IntN(256))
		}
		layer := archive{{name: fmt.Sprintf("file%d", i), data: data}}.tar(t)
		m.plain = append(m.plain, layer)
		m.layers = append(m.layers, pack(layer))
	}
	m.types = slices.Repeat([]string{typeOf(pack)}, n)
	m.config = m.makeConfig()
	return m
}

// again is m with its layer n once more on top.
func (m made) again(n int) made {
	m.plain = append(slices.Clone(m.plain), m.plain[n])
	m.layers = append(slices.Clone(m.layers), m.layers[n])
	m.types = append(slices.Clone(m.types), m.types[n])
	m.config = m.makeConfig()
	return m
}

func typeOf(pack func([]byte) []byte) string {
	name, err := packing(bytes.NewReader(pack([]byte("some bytes"))))
	if err != nil {
		panic(err)
	}
	return layerTypes[name]
}

func (m made) makeConfig() []byte {
	c := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: m.arch}}
	c.RootFS.Type = "layers"
	c.RootFS.DiffIDs = m.diffIDs()
	return encode(c)
}

func (m made) diffIDs() []manifest.Digest {
	ids := []manifest.Digest{}
	for _, l := range m.plain {
		ids = append(ids, digest.FromBytes(l))
	}
	return ids
}

func (m made) configDigest() manifest.Digest { return digest.FromBytes(m.config) }

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

// docker is the image as docker save before 25 wrote it, except for the legacy files that nobody reads.
func (m made) docker(tags ...string) archive {
	var a archive
	saved := savedImage{Config: m.configDigest().Encoded() + ".json", RepoTags: tags}
	a.add(saved.Config, m.config)
	for i, l := range m.layers {
		name := fmt.Sprintf("%064x/layer.tar", i+1)
		a.add(name, l)
		saved.Layers = append(saved.Layers, name)
	}
	a.add("manifest.json", encode([]savedImage{saved}))
	return a
}

func (m made) manifestOf() ocispec.Manifest {
	d := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	d.Config = describe(ocispec.MediaTypeImageConfig, m.config)
	for i, l := range m.layers {
		d.Layers = append(d.Layers, describe(m.types[i], l))
	}
	return d
}

func describe(mediaType string, data []byte) manifest.Descriptor {
	return manifest.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// blobs is the image as files of a layout, and the descriptor of its manifest.
func (m made) blobs() (archive, manifest.Descriptor) {
	var a archive
	for _, data := range append([][]byte{m.config}, m.layers...) {
		a = a.with(blobName(digest.FromBytes(data)), data)
	}
	raw := encode(m.manifestOf())
	a.add(blobName(digest.FromBytes(raw)), raw)
	d := describe(ocispec.MediaTypeImageManifest, raw)
	d.Platform = &manifest.Platform{OS: "linux", Architecture: m.arch}
	return a, d
}

// layout adds to blobs what makes them a layout.
func layout(blobs archive, entries ...manifest.Descriptor) archive {
	a := archive{{name: "oci-layout", data: []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
	a = append(a, blobs...)
	a.add("index.json", encode(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: entries}))
	return a
}

func nameIt(d manifest.Descriptor, name string) manifest.Descriptor {
	d.Annotations = map[string]string{imageName: name}
	return d
}

// oci is the image as an OCI layout that names it.
func (m made) oci(name string) archive {
	blobs, d := m.blobs()
	return layout(blobs, nameIt(d, name))
}
