//go:build linux

package loader

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var (
	layerBytes  = []byte("a layer")
	configBytes = []byte(`{"architecture":"amd64"}`)
	layerDigest = digest.FromBytes(layerBytes)
	confDigest  = digest.FromBytes(configBytes)
	elsewhere   = digest.FromString("a layer that the engine has")
)

func TestThinArchive(t *testing.T) {
	image := manifest.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("manifest"), Size: 8}
	layer, conf := "blobs/sha256/"+layerDigest.Encoded(), "blobs/sha256/"+confDigest.Encoded()
	for _, tt := range []struct {
		store manifest.Store
		names []string
	}{
		{manifest.StoreGraphdriver, []string{layer, conf, "manifest.json"}},
		{manifest.StoreContainerd, []string{"oci-layout", layer, conf, "index.json", "manifest.json"}},
		{manifest.StorePodman, []string{"oci-layout", layer, conf, "index.json", "manifest.json"}},
	} {
		t.Run(string(tt.store), func(t *testing.T) {
			var b bytes.Buffer
			a := newThinArchive(&b, tt.store)
			err := errors.Join(a.begin(), a.blob(layerDigest, int64(len(layerBytes)), bytes.NewReader(layerBytes)), a.file(conf, configBytes),
				a.end(confDigest, []manifest.Digest{elsewhere, layerDigest}, image))
			if err != nil {
				t.Fatal(err)
			}
			names, files := readTar(t, &b)
			if !slices.Equal(names, tt.names) {
				t.Errorf("entries %v", names)
			}
			if !bytes.Equal(files[layer], layerBytes) || !bytes.Equal(files[conf], configBytes) {
				t.Errorf("blobs %q", files)
			}
			want := `[{"Config":"` + conf + `","RepoTags":null,"Layers":["blobs/sha256/` + elsewhere.Encoded() + `","` + layer + `"]}]`
			if got := string(files["manifest.json"]); got != want {
				t.Errorf("manifest.json %s", got)
			}
			if tt.store == manifest.StoreGraphdriver {
				return
			}
			var index ocispec.Index
			if err := json.Unmarshal(files["index.json"], &index); err != nil || len(index.Manifests) != 1 || index.Manifests[0].Digest != image.Digest ||
				index.Manifests[0].Annotations != nil {
				t.Errorf("index.json %s", files["index.json"])
			}
			if string(files["oci-layout"]) != `{"imageLayoutVersion":"1.0.0"}` {
				t.Errorf("oci-layout %s", files["oci-layout"])
			}
		})
	}
}

// TestThinArchiveRefuses sees that nothing but a digest becomes a path, and that a wrong size is found.
func TestThinArchiveRefuses(t *testing.T) {
	for _, d := range []manifest.Digest{"", "sha256:../../etc/passwd", "sha512:" + manifest.Digest(layerDigest.Encoded())} {
		if err := newThinArchive(io.Discard, manifest.StoreContainerd).blob(d, 1, strings.NewReader("x")); manifest.KindOf(err) != manifest.KindMalformed {
			t.Errorf("%q: %v", d, err)
		}
	}
	if err := newThinArchive(io.Discard, manifest.StoreContainerd).blob(layerDigest, 3, bytes.NewReader(layerBytes)); err == nil {
		t.Error("more bytes than the header says were taken")
	}
}

func readTar(t *testing.T, r io.Reader) (names []string, files map[string][]byte) {
	t.Helper()
	files = map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return names, files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || h.Mode != 0o644 || h.ModTime.Unix() != 0 {
			t.Errorf("%s: type %c, mode %o, time %v", h.Name, h.Typeflag, h.Mode, h.ModTime)
		}
		names = append(names, h.Name)
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerifier(t *testing.T) {
	d := manifest.Descriptor{Digest: layerDigest, Size: int64(len(layerBytes))}
	lost := errors.New("the line broke")
	for _, tt := range []struct {
		name string
		r    io.Reader
		says string
		is   error
	}{
		{name: "right", r: bytes.NewReader(layerBytes)},
		{name: "byte by byte", r: io.MultiReader(strings.NewReader("a"), strings.NewReader(" laye"), strings.NewReader("r"))},
		{name: "short", r: strings.NewReader("a laye"), says: "cut short: 6 of 7"},
		{name: "empty", r: strings.NewReader(""), says: "cut short: 0 of 7"},
		{name: "long", r: strings.NewReader("a layer!"), says: "more than 7"},
		{name: "other", r: strings.NewReader("a later"), says: "arrived damaged"},
		{name: "broken", r: io.MultiReader(strings.NewReader("a la"), failing{lost}), is: lost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := io.Copy(io.Discard, verify(tt.r, d))
			switch {
			case tt.is != nil:
				if !errors.Is(err, tt.is) {
					t.Errorf("got %v", err)
				}
			case tt.says == "":
				if err != nil {
					t.Errorf("got %v", err)
				}
			default:
				var spoilt *damaged
				if manifest.KindOf(err) != manifest.KindIntegrity || !strings.Contains(err.Error(), tt.says) || !errors.As(err, &spoilt) || spoilt.blob != layerDigest {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
