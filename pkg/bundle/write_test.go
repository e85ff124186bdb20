package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A full bundle has its documents first, then every blob once, in plain headers, and everything is what its digest says.
func TestTarIsTheFormat(t *testing.T) {
	src := release1(t, asGzip, true)
	w, all, raw := writtenTar(t, src, WriteOptions{Application: "liver", Version: "1.2", Tool: "test"})
	index := parsed[ocispec.Index](t, all, "index.json")
	want := []string{"oci-layout", "index.json", "manifest.json"}
	a := src.artifacts
	for _, i := range a.Images {
		want = append(want, blobPath(i.Manifest.Digest), blobPath(i.Config.Digest))
	}
	model := parsed[ocispec.Manifest](t, all, blobPath(index.Manifests[2].Digest))
	want = append(want, blobPath(index.Manifests[2].Digest), blobPath(model.Config.Digest),
		blobPath(a.Images[0].Layers[0].Digest), blobPath(a.Images[0].Layers[1].Digest), blobPath(a.Images[1].Layers[1].Digest))
	for _, f := range a.Models[0].Files {
		want = append(want, blobPath(f.Digest))
	}
	var got []string
	for _, e := range all {
		got = append(got, e.header.Name)
		h := e.header
		if h.Typeflag != tar.TypeReg || h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.ModTime.Unix() != 0 || h.Format != tar.FormatUSTAR {
			t.Errorf("%s has the header %+v", h.Name, h)
		}
		if hex, ok := strings.CutPrefix(h.Name, blobFolder); ok && digest.FromBytes(e.data).Encoded() != hex {
			t.Errorf("%s is in truth %s", h.Name, digest.FromBytes(e.data))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("entries\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if w.Index != digest.FromBytes(fileOf(t, all, "index.json")) || w.Signed || w.Checked || len(w.LeftOut) != 0 {
		t.Errorf("written: %+v", w)
	}
	end := raw[len(raw)-2*tarBlock:]
	if !bytes.Equal(end, make([]byte, len(end))) || len(raw)%tarBlock != 0 || int64(len(raw)) != w.Size {
		t.Error("the tar does not end in two empty blocks")
	}
}

func TestIndex(t *testing.T) {
	src := release1(t, asGzip, true)
	_, all, _ := writtenTar(t, src, WriteOptions{Application: "liver", Version: "1.2", Tool: "test"})
	index := parsed[ocispec.Index](t, all, "index.json")
	if !maps.Equal(index.Annotations, map[string]string{AnnotationApplication: "liver", AnnotationVersion: "1.2", AnnotationTool: "test"}) || index.ArtifactType != IndexType {
		t.Errorf("index: %v, %s", index.Annotations, index.ArtifactType)
	}
	img := src.artifacts.Images[1]
	e := index.Manifests[1]
	size := len(layerTar("base"))
	want := map[string]string{
		AnnotationRef: "registry.example.com/team/other:2", AnnotationImageName: "registry.example.com/team/other:2",
		AnnotationRefName:  "registry.example.com/team/other:2",
		AnnotationDiffIDs:  string(img.Layers[0].DiffID) + "," + string(img.Layers[1].DiffID),
		AnnotationUnpacked: strings.Repeat(","+itoa(size), 2)[1:],
	}
	if e.Digest != img.Manifest.Digest || e.Platform.Architecture != "amd64" || !maps.Equal(e.Annotations, want) {
		t.Errorf("image entry: %+v\nwant annotations %v", e, want)
	}
	if first := index.Manifests[0].Annotations; first[AnnotationImageName] != "docker.io/library/app:1" || first[AnnotationRefName] != "app:1" {
		t.Errorf("names of the first: %v", first)
	}
	if m := index.Manifests[2]; !maps.Equal(m.Annotations, map[string]string{AnnotationModel: "liver"}) || m.ArtifactType != ModelType {
		t.Errorf("model entry: %+v", m)
	}
	docker := parsed[[]dockerImage](t, all, "manifest.json")
	if len(docker) != 2 || docker[0].RepoTags[0] != "docker.io/library/app:1" || docker[1].RepoTags[0] != "registry.example.com/team/other:2" || docker[1].Config != blobPath(img.Config.Digest) ||
		!slices.Equal(docker[1].Layers, []string{blobPath(img.Layers[0].Digest), blobPath(img.Layers[1].Digest)}) {
		t.Errorf("manifest.json: %+v", docker)
	}
}

func TestModelIsAnArtifact(t *testing.T) {
	src := release1(t, asGzip, true)
	_, all, _ := writtenTar(t, src, WriteOptions{})
	m := parsed[ocispec.Manifest](t, all, blobPath(parsed[ocispec.Index](t, all, "index.json").Manifests[2].Digest))
	if m.ArtifactType != ModelType || m.Config.MediaType != ModelConfigType || m.Annotations[AnnotationDirs] != `["1","1/empty"]` || m.Annotations[AnnotationAfter] != `["other"]` {
		t.Errorf("%+v", m)
	}
	config := string(fileOf(t, all, blobPath(m.Config.Digest)))
	var ids []string
	for n, f := range src.artifacts.Models[0].Files {
		l := m.Layers[n]
		if l.Digest != f.Digest || l.Size != f.Size || l.Annotations[AnnotationFilePath] != f.Path || l.MediaType != fileType(f.Path) {
			t.Errorf("%s: %+v", f.Path, l)
		}
		ids = append(ids, `"`+string(f.Digest)+`"`)
	}
	if want := `{"descriptor":{"name":"liver"},"config":{},"modelfs":{"type":"layers","diffIds":[` + strings.Join(ids, ",") + `]}}`; config != want {
		t.Errorf("config\n%s\nwant\n%s", config, want)
	}
	if fileType("config.pbtxt") != ModelWeightConfigType || fileType("1/config.pbtxt") != ModelWeightType {
		t.Error("media types of files")
	}
}

// The same release gives the same bytes: with another cache, on another number of processors, and from a source that tells
// no sizes.
func TestSameBytes(t *testing.T) {
	var first []byte
	var index manifest.Digest
	for n, procs := range []int{1, 2, 7} {
		src := newMemorySource()
		src.unsized = n == 2
		src.addImage(t, "app:1", asPlain, false, "base", "app")
		src.addModel("liver", "v1", "1/model.bin", "config.pbtxt")
		before := runtime.GOMAXPROCS(procs)
		w, _, raw := writtenTar(t, src, WriteOptions{Version: "1"})
		runtime.GOMAXPROCS(before)
		if n == 0 {
			first, index = raw, w.Index
		}
		if !bytes.Equal(first, raw) || w.Index != index {
			t.Errorf("with %d processors: %d bytes, index %s; first %d bytes, index %s", procs, len(raw), w.Index, len(first), index)
		}
	}
}

// signsAs is a signer for tests.
func signsAs(who string) func(context.Context, []byte) ([]byte, error) {
	return func(_ context.Context, index []byte) ([]byte, error) {
		return append([]byte(who+" "), index[:5]...), nil
	}
}

func TestCreated(t *testing.T) {
	when := time.Date(2026, 11, 26, 4, 20, 0, 99, time.FixedZone("CET", 3600))
	sign := func(_ context.Context, index []byte) ([]byte, error) {
		return append([]byte("signed "), index[:5]...), nil
	}
	for name, c := range map[string]struct {
		o      WriteOptions
		stated string
		mtime  int64
	}{
		"none":   {WriteOptions{}, "", 0},
		"set":    {WriteOptions{Created: when}, "2026-11-26T03:20:00Z", when.Unix()},
		"signed": {WriteOptions{Created: when, Sign: sign}, "2026-11-26T03:20:00Z", when.Unix()},
		"before": {WriteOptions{Created: time.Unix(-5, 0)}, "1970-01-01T00:00:00Z", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, all, _ := writtenTar(t, release1(t, asGzip, true), c.o)
			if got := parsed[ocispec.Index](t, all, "index.json").Annotations[AnnotationCreated]; got != c.stated || all[0].header.ModTime.Unix() != c.mtime {
				t.Errorf("created %q, entries of %s", got, all[0].header.ModTime)
			}
			if w.Signed != (c.o.Sign != nil) {
				t.Errorf("signed: %v", w.Signed)
			}
			if w.Signed && (all[2].header.Name != "index.json.sig" || !strings.HasPrefix(string(all[2].data), "signed {")) {
				t.Errorf("third is %s with %q", all[2].header.Name, all[2].data)
			}
		})
	}
	_, all, _ := writtenTar(t, release1(t, asGzip, true), WriteOptions{Sign: sign})
	if at, err := time.Parse(time.RFC3339, parsed[ocispec.Index](t, all, "index.json").Annotations[AnnotationCreated]); err != nil || time.Since(at) > time.Minute {
		t.Errorf("a signed bundle without a time claims %s, %v", at, err)
	}
	refused := errors.New("no key")
	_, err := Write(t.Context(), release1(t, asGzip, true), filepath.Join(t.TempDir(), "x"), WriteOptions{WorkDir: t.TempDir(), Sign: func(context.Context, []byte) ([]byte, error) { return nil, refused }})
	if !errors.Is(err, refused) {
		t.Errorf("a signer that refuses: %v", err)
	}
}

func TestWrongUse(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(other, "holiday"), 0o755); err != nil {
		t.Fatal(err)
	}
	good := func() *memorySource { return release1(t, asGzip, true) }
	unnamed := good()
	unnamed.artifacts.Images[0].Ref = "Not A Name"
	for name, c := range map[string]struct {
		src  Source
		to   string
		o    WriteOptions
		kind manifest.Kind
	}{
		"nothing in it":        {newMemorySource(), "x", WriteOptions{}, manifest.KindUsage},
		"no name":              {good(), "", WriteOptions{}, manifest.KindUsage},
		"split folder":         {good(), "x/", WriteOptions{Split: 1000}, manifest.KindUsage},
		"negative parts":       {good(), "x", WriteOptions{Split: -1}, manifest.KindUsage},
		"too many parts":       {good(), "x", WriteOptions{Split: 10}, manifest.KindUsage},
		"unknown compression":  {good(), "x", WriteOptions{Compression: "lz4"}, manifest.KindUsage},
		"recompress to zstd":   {good(), "x", WriteOptions{Recompress: true, Compression: Zstd}, manifest.KindUsage},
		"no such folder":       {good(), "a/b/x", WriteOptions{}, manifest.KindNotFound},
		"folder of other use":  {good(), "full", WriteOptions{}, manifest.KindUsage},
		"image without a name": {unnamed, "x", WriteOptions{}, manifest.KindUsage},
	} {
		t.Run(name, func(t *testing.T) {
			to := c.to
			if to != "" {
				to = filepath.Join(dir, c.to)
			}
			if strings.HasSuffix(c.to, "/") {
				to += "/"
			}
			c.o.WorkDir = t.TempDir()
			if _, err := Write(t.Context(), c.src, to, c.o); manifest.KindOf(err) != c.kind {
				t.Errorf("%v, want %s", err, c.kind)
			}
		})
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}
