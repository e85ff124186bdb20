package source

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// aModel is a model folder of one file.
func aModel(t testing.TB, name, content string) *Models {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.pbtxt"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := OpenModels(t.Context(), []string{dir}, ModelOptions{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Images and models read as one source, each blob from the part that has it.
func TestJoin(t *testing.T) {
	m := makeImage(t, 7, 2, "amd64", gzipped)
	images, err := open(t, Options{}, "archive:"+file(t, "app.tar", m.oci("docker.io/library/app:1").tar(t)))
	if err != nil {
		t.Fatal(err)
	}
	j := Join(images, aModel(t, "liver", "name: 'liver'"))
	a, err := j.Artifacts(t.Context(), manifest.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil || len(a.Images) != 1 || len(a.Models) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	img := a.Images[0]
	for d, want := range map[manifest.Digest]int64{
		img.Config.Digest: img.Config.Size, img.Manifest.Digest: img.Manifest.Size,
		img.Layers[1].Digest: img.Layers[1].Size, a.Models[0].Files[0].Digest: a.Models[0].Files[0].Size,
	} {
		r, err := j.Open(t.Context(), manifest.Descriptor{Digest: d, Size: want}, 0)
		if err != nil || r.Size() != want {
			t.Errorf("%s: %v", d, err)
			continue
		}
		r.Close()
	}
	if _, err := j.Open(t.Context(), manifest.Descriptor{Digest: digest.FromString("none")}, 0); manifest.KindOf(err) != manifest.KindInternal {
		t.Errorf("what nobody has: %v", err)
	}
	for range 2 {
		if err := j.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

func TestJoinRefusesSameNames(t *testing.T) {
	j := Join(aModel(t, "liver", "a"), aModel(t, "liver", "b"))
	if _, err := j.Artifacts(t.Context(), manifest.Platform{}); manifest.KindOf(err) != manifest.KindUsage {
		t.Errorf("two models of one name: %v", err)
	}
	m := makeImage(t, 7, 2, "amd64", gzipped)
	var images []Source
	for range 2 {
		i, err := open(t, Options{}, "archive:"+file(t, "app.tar", m.oci("docker.io/library/app:1").tar(t)))
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, i)
	}
	if _, err := Join(images...).Artifacts(t.Context(), manifest.Platform{}); manifest.KindOf(err) != manifest.KindUsage {
		t.Errorf("two images of one name: %v", err)
	}
}
