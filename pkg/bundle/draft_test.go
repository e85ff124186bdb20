package bundle

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
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A second writer of bundles, which knows nothing of the first: it makes what tests change before they have it read.

// draftFile is one file of a bundle under construction.
type draftFile struct {
	name string
	data []byte
}

// draft is a bundle under construction.
type draft struct {
	index   ocispec.Index
	blobs   []draftFile // in order, but manifests come first, then configurations
	rank    map[string]int
	docker  []map[string]any
	without map[manifest.Digest]bool // blobs left out
	sig     []byte
}

func newDraft() *draft {
	m := &draft{without: map[manifest.Digest]bool{}, rank: map[string]int{}}
	m.index = ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, ArtifactType: IndexType}
	m.index.Annotations = map[string]string{
		AnnotationApplication: "livertumor", AnnotationVersion: "1.2.3", AnnotationTool: "clara-push test",
		AnnotationCreated: "2026-11-22T14:05:01Z",
	}
	return m
}

// blob adds data, once, and describes it.
func (m *draft) blob(mediaType string, data []byte) manifest.Descriptor {
	d := manifest.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	name := "blobs/sha256/" + d.Digest.Encoded()
	if !slices.ContainsFunc(m.blobs, func(e draftFile) bool { return e.name == name }) {
		m.blobs = append(m.blobs, draftFile{name, data})
		m.rank[name] = slices.Index([]string{"", ModelConfigType, ocispec.MediaTypeImageConfig, ocispec.MediaTypeImageManifest}, mediaType)
	}
	return d
}

// image adds an image of these layers, each a gzip.
func (m *draft) image(ref string, layers ...[]byte) *manifest.Descriptor {
	var config ocispec.Image
	config.OS, config.Architecture, config.RootFS.Type = "linux", "amd64", "layers"
	man := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	var diffIDs, sizes, paths []string
	for _, l := range layers {
		d := m.blob(ocispec.MediaTypeImageLayerGzip, zipped(l))
		man.Layers = append(man.Layers, d)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(l))
		diffIDs, sizes = append(diffIDs, string(digest.FromBytes(l))), append(sizes, fmt.Sprint(len(l)))
		paths = append(paths, "blobs/sha256/"+d.Digest.Encoded())
	}
	man.Config = m.blob(ocispec.MediaTypeImageConfig, jsonOf(config))
	e := m.blob(ocispec.MediaTypeImageManifest, jsonOf(man))
	e.Platform = &manifest.Platform{OS: "linux", Architecture: "amd64"}
	e.Annotations = map[string]string{
		AnnotationRef: ref, AnnotationRefName: ref, AnnotationImageName: "docker.io/library/" + ref,
		AnnotationDiffIDs: strings.Join(diffIDs, ","), AnnotationUnpacked: strings.Join(sizes, ","),
	}
	m.index.Manifests = append(m.index.Manifests, e)
	m.docker = append(m.docker, map[string]any{"Config": "blobs/sha256/" + man.Config.Digest.Encoded(), "RepoTags": []string{"docker.io/library/" + ref}, "Layers": paths})
	return &m.index.Manifests[len(m.index.Manifests)-1]
}

// model adds a model of these files, by path; a path that ends in a slash is a folder.
func (m *draft) model(name string, files map[string]string, after ...string) *manifest.Descriptor {
	man := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ModelType}
	man.Config = m.blob(ModelConfigType, []byte(`{"descriptor":{"name":"`+name+`"}}`))
	paths := []string{}
	for p := range files {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	dirs := []string{}
	for _, p := range paths {
		if dir, ok := strings.CutSuffix(p, "/"); ok {
			dirs = append(dirs, dir)
			continue
		}
		d := m.blob("application/vnd.cncf.model.weight.v1.raw", []byte(files[p]))
		d.Annotations = map[string]string{AnnotationFilePath: p}
		man.Layers = append(man.Layers, d)
	}
	man.Annotations = map[string]string{AnnotationDirs: string(jsonOf(dirs))}
	if len(after) > 0 {
		man.Annotations[AnnotationAfter] = string(jsonOf(after))
	}
	e := m.blob(ocispec.MediaTypeImageManifest, jsonOf(man))
	e.ArtifactType = ModelType
	e.Annotations = map[string]string{AnnotationModel: name}
	m.index.Manifests = append(m.index.Manifests, e)
	return &m.index.Manifests[len(m.index.Manifests)-1]
}

// differential leaves blobs out and takes the names that engines go by away.
func (m *draft) differential(without ...manifest.Digest) *draft {
	m.index.Annotations[AnnotationBase] = string(digest.FromString("base"))
	m.index.Annotations[AnnotationBaseName] = "release-1.tar"
	for _, d := range without {
		m.without[d] = true
	}
	for _, e := range m.index.Manifests {
		delete(e.Annotations, AnnotationImageName)
		delete(e.Annotations, AnnotationRefName)
	}
	m.docker = nil
	return m
}

// entries are the files of the bundle in order.
func (m *draft) entries() draftFiles {
	index := jsonOf(m.index)
	a := draftFiles{
		{"oci-layout", layoutOf(index)},
		{"index.json", index},
	}
	if m.sig != nil {
		a = append(a, draftFile{"index.json.sig", m.sig})
	}
	if m.docker != nil {
		// The keys of Docker's struct are in this order.
		var items []string
		for _, d := range m.docker {
			items = append(items, fmt.Sprintf(`{"Config":%s,"RepoTags":%s,"Layers":%s}`, jsonOf(d["Config"]), jsonOf(d["RepoTags"]), jsonOf(d["Layers"])))
		}
		a = append(a, draftFile{"manifest.json", []byte("[" + strings.Join(items, ",") + "]")})
	}
	ordered := slices.Clone(m.blobs)
	slices.SortStableFunc(ordered, func(x, y draftFile) int { return m.rank[y.name] - m.rank[x.name] })
	for _, b := range ordered {
		d, _ := blobDigest(b.name)
		if !m.without[d] {
			a = append(a, b)
		}
	}
	return a
}

// layoutOf is the oci-layout that belongs to an index.json.
func layoutOf(index []byte) []byte {
	return []byte(`{"imageLayoutVersion":"1.0.0","io.github.clara-push.index":"` + digest.FromBytes(index).String() + `"}`)
}

func (m *draft) tar(t testing.TB) []byte { return m.entries().tar(t) }

// draftFiles is the files of a bundle; a test changes them before they are written.
type draftFiles []draftFile

func (a draftFiles) at(name string) int {
	return slices.IndexFunc(a, func(e draftFile) bool { return e.name == name })
}

func (a draftFiles) without(name string) draftFiles {
	n := a.at(name)
	return slices.Delete(slices.Clone(a), n, n+1)
}

// with replaces a file, or adds it at the end.
func (a draftFiles) with(name string, data []byte) draftFiles {
	b := slices.Clone(a)
	if n := b.at(name); n >= 0 {
		b[n].data = data
		return b
	}
	return append(b, draftFile{name, data})
}

// moved puts the file of this name to place n.
func (a draftFiles) moved(name string, n int) draftFiles {
	e := a[a.at(name)]
	return slices.Insert(a.without(name), n, e)
}

func (a draftFiles) tar(t testing.TB) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range a {
		putEntry(t, w, tar.Header{Name: e.name}, e.data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// putEntry writes an entry; what h leaves open is as it is in a bundle.
func putEntry(t testing.TB, w *tar.Writer, h tar.Header, data []byte) {
	t.Helper()
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	if h.Size == 0 {
		h.Size = int64(len(data))
	}
	if h.ModTime.IsZero() {
		h.ModTime = time.Unix(0, 0)
	}
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
}

// folder writes the files into a folder.
func (a draftFiles) folder(t testing.TB) string {
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

// cutUp cuts data into parts of n bytes in a folder and returns the path that they were cut from.
func cutUp(t testing.TB, data []byte, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "release.tar")
	list := map[string]any{"size": len(data), "index": indexOf(t, data)}
	var parts []map[string]any
	for i := 0; len(data) > 0; i++ {
		part := data[:min(n, len(data))]
		data = data[len(part):]
		name := fmt.Sprintf("%s.%03d", path, i+1)
		saveFile(t, name, part)
		parts = append(parts, map[string]any{"name": filepath.Base(name), "size": len(part), "digest": digest.FromBytes(part)})
	}
	list["parts"] = parts
	saveFile(t, path+".parts.json", jsonOf(list))
	return path
}

// indexOf is the digest of the index.json in a tar.
func indexOf(t testing.TB, data []byte) manifest.Digest {
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "index.json" {
			d, err := digest.FromReader(r)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
}

func saveFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// savedFile is a file of these bytes.
func savedFile(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "release.tar")
	saveFile(t, path, data)
	return path
}

// noiseOf is n bytes that do not compress; seed tells them from others.
func noiseOf(seed uint64, n int) []byte {
	random := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

func zipped(data []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(data)
	w.Close()
	return buf.Bytes()
}

func jsonOf(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

// draftRelease is two images that share a base, and two models of which one is an ensemble.
func draftRelease() *draft {
	m := newDraft()
	base := noiseOf(1, 5000)
	m.image("app_livertumor:1.2.3", base, noiseOf(2, 700), noiseOf(3, 10))
	m.image("viewer:latest", base, noiseOf(4, 1200))
	m.model("segmentation", map[string]string{"config.pbtxt": "name: \"segmentation\"", "1/": "", "1/model.onnx": string(noiseOf(5, 3000)), "2/": "", "2/model.onnx": string(noiseOf(6, 900))})
	m.model("whole", map[string]string{"config.pbtxt": "name: \"whole\"", "1/": ""}, "segmentation")
	return m
}
