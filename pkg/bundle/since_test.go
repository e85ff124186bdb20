package bundle

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func writtenArtifacts(w Written) (a manifest.Artifacts) {
	for _, i := range w.Images {
		a.Images = append(a.Images, i.Image)
	}
	for _, m := range w.Models {
		a.Models = append(a.Models, m.Model)
	}
	return a
}

func version2(t testing.TB, f form) *memorySource {
	s := newMemorySource()
	s.addImage(t, "app:2", f, true, "base", "app two")
	m := s.addModel("liver", "v1", "1/model.bin", "1/weights")
	s.artifacts.Models = nil
	m2 := s.addModel("liver", "v2", "config.pbtxt")
	m.Files = append(m.Files, m2.Files...)
	s.artifacts.Models = []manifest.Model{m}
	return s
}

// A differential bundle has what the base has not and all documents, and nothing that an engine would go by.
func TestSince(t *testing.T) {
	work := t.TempDir()
	for name, f := range map[string]form{"compressed by the source": asGzip, "compressed here": asPlain} {
		t.Run(name, func(t *testing.T) {
			first, _, _ := writtenTar(t, release1(t, f, true), WriteOptions{WorkDir: work})
			src := version2(t, f)
			w, all, _ := writtenTar(t, src, WriteOptions{WorkDir: work, Base: Since(writtenArtifacts(first), first.Index, "release 1")})
			img, files := w.Images[0], src.artifacts.Models[0].Files
			index := parsed[ocispec.Index](t, all, "index.json")
			want := []string{"oci-layout", "index.json", blobPath(img.Manifest.Digest), blobPath(img.Config.Digest), blobPath(w.Models[0].Manifest)}
			want = append(want, all[5].header.Name, blobPath(img.Layers[1].Digest), blobPath(files[2].Digest))
			if got := names(all); !slices.Equal(got, want) {
				t.Errorf("entries\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if a := index.Annotations; a[AnnotationBase] != string(first.Index) || a[AnnotationBaseName] != "release 1" {
				t.Errorf("index: %v", a)
			}
			if a := index.Manifests[0].Annotations; len(a) != 3 || a[AnnotationRef] != "app:2" || a[AnnotationDiffIDs] == "" {
				t.Errorf("image entry: %v", a)
			}
			if got := digestsIn(w.LeftOut); !slices.Equal(got, []manifest.Digest{img.Layers[0].Digest, files[0].Digest, files[1].Digest}) {
				t.Errorf("left out: %v", got)
			}
		})
	}
}

func names(all []entryOf) (n []string) {
	for _, e := range all {
		n = append(n, e.header.Name)
	}
	return n
}

func digestsIn(ds []manifest.Descriptor) (all []manifest.Digest) {
	for _, d := range ds {
		all = append(all, d.Digest)
	}
	return all
}

// A layer travels unless the base has the very blob over the very layers; a file unless the model of that name has it, and a configuration
// always.
func TestSinceRules(t *testing.T) {
	base := newMemorySource()
	base.addImage(t, "a:1", asGzip, true, "one", "two")
	base.addImage(t, "b:1", asZstd, true, "one", "three")
	base.addModel("liver", "v1", "1/a")
	base.addModel("kidney", "v1", "1/a", "config.pbtxt")
	for name, c := range map[string]struct {
		add   func(*memorySource)
		sends int // of layers and files
	}{
		"the same":           {func(s *memorySource) { s.addImage(t, "a:1", asGzip, true, "one", "two") }, 0},
		"under another name": {func(s *memorySource) { s.addImage(t, "x:1", asGzip, true, "one", "two") }, 0},
		"one more":           {func(s *memorySource) { s.addImage(t, "a:1", asGzip, true, "one", "two", "four") }, 1},
		"other order":        {func(s *memorySource) { s.addImage(t, "a:1", asGzip, true, "two", "one") }, 2},
		"over another base":  {func(s *memorySource) { s.addImage(t, "a:1", asGzip, true, "five", "two") }, 2},
		"other compression":  {func(s *memorySource) { s.addImage(t, "a:1", asZstd, true, "one", "two") }, 1},
		"needed where the chain is other": {func(s *memorySource) {
			s.addImage(t, "a:1", asGzip, true, "one", "two")
			s.addImage(t, "c:1", asGzip, true, "two")
		}, 1},
		"same model":                 {func(s *memorySource) { s.addModel("liver", "v1", "1/a") }, 0},
		"changed file":               {func(s *memorySource) { s.addModel("liver", "v2", "1/a") }, 1},
		"same configuration":         {func(s *memorySource) { s.addModel("kidney", "v1", "1/a", "config.pbtxt") }, 1},
		"same file in another model": {func(s *memorySource) { s.addModel("spleen", "v1", "1/a") }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			src := newMemorySource()
			c.add(src)
			travels, err := Since(base.artifacts, "sha256:x", "").travels(src.artifacts, false)
			if err != nil || len(travels) != c.sends {
				t.Errorf("%v travel, %v; want %d", slices.Collect(maps.Keys(travels)), err, c.sends)
			}
		})
	}
}

// Against an inventory goes what a push would send, whatever the host said of its stage, space and rights.
func TestFor(t *testing.T) {
	src := version2(t, asGzip)
	img, model := src.artifacts.Images[0], src.artifacts.Models[0]
	linux := manifest.Platform{OS: "linux", Architecture: "amd64"}
	live := manifest.HostModel{Name: "liver", Found: manifest.FoundDirectory, Files: model.Files[:2], Dirs: model.Dirs, Refusal: "not yours"}
	full := manifest.Space{Path: "/", Free: 0, Inodes: 0}
	for name, c := range map[string]struct {
		inv  manifest.Inventory
		left int
		kind manifest.Kind
	}{
		"graphdriver": {manifest.Inventory{Engine: manifest.Engine{Store: manifest.StoreGraphdriver, Platform: linux}, Chains: manifest.ChainIDs(img.DiffIDs())[:1], Stage: full, Data: full}, 1, ""},
		"containerd": {manifest.Inventory{Engine: manifest.Engine{Store: manifest.StoreContainerd, Platform: linux}, Blobs: []manifest.Blob{{Digest: img.Layers[1].Digest, Size: 1}},
			Staged: []manifest.Staged{{Digest: img.Layers[0].Digest}}}, 1, ""},
		"models too": {manifest.Inventory{Engine: manifest.Engine{Store: manifest.StoreContainerd, Platform: linux},
			Repository: &manifest.Repository{Path: "/m", Refusal: "mounted read-only", Models: []manifest.HostModel{live}, Stage: full}}, 2, ""},
		"has the image": {manifest.Inventory{Engine: manifest.Engine{Store: manifest.StoreGraphdriver, Platform: linux},
			Images: []manifest.HostImage{{ID: "x", Config: img.Config.Digest, DiffIDs: img.DiffIDs()}}}, 2, ""},
		"other platform": {manifest.Inventory{Engine: manifest.Engine{Store: manifest.StoreGraphdriver, Platform: manifest.Platform{OS: "linux", Architecture: "arm64"}}}, 0, manifest.KindUsage},
		"a link there": {manifest.Inventory{Engine: manifest.Engine{Store: manifest.StoreGraphdriver, Platform: linux},
			Repository: &manifest.Repository{Models: []manifest.HostModel{{Name: "liver", Found: manifest.FoundSymlink}}}}, 0, manifest.KindPermission},
		"no engine": {manifest.Inventory{Repository: &manifest.Repository{Models: []manifest.HostModel{live}}}, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			raw := jsonOf(c.inv)
			base, err := For(raw, "gpu01")
			if err != nil {
				t.Fatal(err)
			}
			if base.Digest != digest.FromBytes(raw) || base.Name != "gpu01" {
				t.Errorf("base %s, %s", base.Digest, base.Name)
			}
			if c.kind != "" {
				if _, err := base.travels(src.artifacts, false); manifest.KindOf(err) != c.kind {
					t.Errorf("%v", err)
				}
				return
			}
			if w, _, _ := writtenTar(t, src, WriteOptions{Base: base}); len(w.LeftOut) != c.left {
				t.Errorf("left out %v, want %d", digestsIn(w.LeftOut), c.left)
			}
		})
	}
}

func TestForRefuses(t *testing.T) {
	good := manifest.Inventory{Engine: manifest.Engine{Store: manifest.StoreContainerd}}
	with := func(change func(*manifest.Inventory)) string {
		inv := good
		change(&inv)
		raw, _ := json.Marshal(inv)
		return string(raw)
	}
	for name, raw := range map[string]string{
		"no JSON":     "{",
		"a list":      "[]",
		"empty":       "{}",
		"other store": `{"engine":{"store":"floppy"}}`,
		"bad chain":   with(func(i *manifest.Inventory) { i.Chains = []manifest.Digest{"sha256:../../x"} }),
		"bad blob":    with(func(i *manifest.Inventory) { i.Blobs = []manifest.Blob{{Digest: "md5:1"}} }),
		"bad diffID":  with(func(i *manifest.Inventory) { i.Blobs = []manifest.Blob{{Digest: digest.FromString("x"), DiffID: "x"}} }),
		"bad file": with(func(i *manifest.Inventory) {
			i.Repository = &manifest.Repository{Models: []manifest.HostModel{{Name: "m", Files: []manifest.File{{Path: "a", Descriptor: manifest.Descriptor{Digest: "x"}}}}}}
		}),
		"too large": with(func(i *manifest.Inventory) { i.Name = strings.Repeat("x", MaxInventory) }),
	} {
		if _, err := For([]byte(raw), "host"); manifest.KindOf(err) != manifest.KindMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := For(jsonOf(good), "host"); err != nil {
		t.Errorf("a good one: %v", err)
	}
}
