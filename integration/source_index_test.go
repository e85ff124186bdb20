//go:build linux

package integration

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/pkg/manifest"
	images "github.com/clara-push/clara-push/pkg/source"
)

// An index in an engine, as BuildKit and docker pull leave it: the image, its attestation, and an image for another
// platform that is not there.
func TestSourceIndex(t *testing.T) {
	e := newEngine(t, lab.ModernContainerd, lab.EngineOptions{})
	spec := lab.ImageSpec{Name: "source-index:1", Base: lab.Layer{Size: 1 << 20, Seed: 130}}
	build(t, e, spec)
	want := save(t, e, spec.Name)
	loadIndex(t, e, spec.Name)

	s, a := opened(t, images.Options{Engine: e.Host(), CacheDir: t.TempDir()}, spec.Name)
	img := a.Images[0]
	same(t, img, want)
	if !slices.Equal(img.LeftBehind, []string{"an attestation", "the image for linux/riscv64"}) {
		t.Errorf("left behind: %q", img.LeftBehind)
	}
	readAll(t, s, img)

	for arch, says := range map[string]string{"riscv64": "only in part", "s390x": "only for linux/amd64, linux/riscv64"} {
		s, err := images.Open(t.Context(), []string{spec.Name}, images.Options{
			Engine: e.Host(), CacheDir: t.TempDir(), Platform: manifest.Platform{OS: "linux", Architecture: arch},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Artifacts(t.Context(), manifest.Platform{OS: "linux", Architecture: "amd64"})
		if manifest.KindOf(err) != manifest.KindNotFound || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %s: %v; want %q", arch, manifest.KindOf(err), err, says)
		}
		s.Close()
	}
}

// loadIndex puts an index under the name of an image, which the index holds for linux/amd64.
func loadIndex(t testing.TB, e *lab.Engine, name string) {
	t.Helper()
	w := newLayoutWriter(t)
	top := w.copySaved(e, name)
	img := top.Manifests[0]
	names := img.Annotations
	img.Annotations, img.Platform = nil, &manifest.Platform{OS: "linux", Architecture: "amd64"}
	about := w.blob(ocispec.MediaTypeImageManifest, ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, Config: ocispec.DescriptorEmptyJSON})
	about.Platform = &manifest.Platform{OS: "unknown", Architecture: "unknown"}
	about.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": string(img.Digest)}
	absent := manifest.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("elsewhere"), Size: 9}
	absent.Platform = &manifest.Platform{OS: "linux", Architecture: "riscv64"}
	index := w.blob(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []manifest.Descriptor{img, about, absent},
	})
	index.Annotations = names
	top.Manifests = []manifest.Descriptor{index}
	w.add("index.json", w.json(top))

	cmd, err := e.DockerCommand(t.Context(), "load")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(w.close())
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("docker load: %v: %s", err, said)
	}
}

// layoutWriter writes a small OCI layout as a tar.
type layoutWriter struct {
	t   testing.TB
	buf bytes.Buffer
	tar *tar.Writer
}

func newLayoutWriter(t testing.TB) *layoutWriter {
	w := &layoutWriter{t: t}
	w.tar = tar.NewWriter(&w.buf)
	return w
}

func (w *layoutWriter) add(name string, data []byte) {
	w.t.Helper()
	if err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.tar.Write(data); err != nil {
		w.t.Fatal(err)
	}
}

func (w *layoutWriter) json(v any) []byte {
	w.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

func (w *layoutWriter) blob(mediaType string, v any) manifest.Descriptor {
	w.t.Helper()
	raw := w.json(v)
	d := manifest.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	w.add("blobs/sha256/"+d.Digest.Encoded(), raw)
	return d
}

// copySaved copies what docker save of an image holds, except index.json, which it returns.
func (w *layoutWriter) copySaved(e *lab.Engine, name string) (top ocispec.Index) {
	w.t.Helper()
	cmd, err := e.DockerCommand(w.t.Context(), "save", name)
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatal(err)
	}
	r := tar.NewReader(bytes.NewReader(out))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return top
		}
		if err != nil {
			w.t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			w.t.Fatal(err)
		}
		switch {
		case h.Name == "index.json":
			if err := json.Unmarshal(data, &top); err != nil {
				w.t.Fatal(err)
			}
		case h.Typeflag == tar.TypeReg && h.Name != "manifest.json":
			w.add(h.Name, data)
		}
	}
}

func (w *layoutWriter) close() []byte {
	w.t.Helper()
	if err := w.tar.Close(); err != nil {
		w.t.Fatal(err)
	}
	return w.buf.Bytes()
}
