//go:build linux

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/pkg/manifest"
	images "github.com/clara-push/clara-push/pkg/source"
)

// Names: by ID, by a full name, by one that is nowhere, and a file beside an image of the same name.
func TestSourceNames(t *testing.T) {
	for _, k := range lab.Dockers {
		t.Run(string(k), func(t *testing.T) {
			e := source(t, k)
			build(t, e, sourceImage("source-names:1", 90))
			t.Chdir(t.TempDir())
			if err := os.Mkdir("source-names", 0o755); err != nil { // the folder that the image was built from, say
				t.Fatal(err)
			}
			if _, err := e.Docker(t.Context(), "tag", "source-names:1", "source-names:latest"); err != nil {
				t.Fatal(err)
			}
			id := idOf(t, e, "source-names:1")
			for name, want := range map[string]string{
				"source-names":                           "source-names:latest",
				"docker.io/library/source-names:1":       "source-names:1",
				"engine://source-names:1":                "source-names:1",
				id:                                       "",
				strings.TrimPrefix(id, "sha256:")[:12]:   "",
				"source-missing:1":                       "missing",
				"engine://source-missing:1":              "missing",
				"127.0.0.1:1/source-names:1":             "unreachable",
				"source-names:1@" + manifestOf(t, e, id): "source-names:1",
			} {
				if strings.HasSuffix(name, "@") {
					continue // this store knows no such digest
				}
				o := images.Options{Engine: e.Host(), CacheDir: t.TempDir()}
				s, err := images.Open(t.Context(), []string{name}, o)
				var a manifest.Artifacts
				if err == nil {
					a, err = s.Artifacts(t.Context(), manifest.Platform{})
					s.Close()
				}
				kind := map[string]manifest.Kind{"missing": manifest.KindNotFound, "unreachable": manifest.KindConnect, "": manifest.KindUsage}[want]
				switch {
				case manifest.KindOf(err) != kind:
					t.Errorf("%s: %s: %v; want %q", name, manifest.KindOf(err), err, kind)
				case err == nil && a.Images[0].Ref != want:
					t.Errorf("%s: named %s, want %s", name, a.Images[0].Ref, want)
				}
			}
		})
	}
}

// manifestOf is the digest by which an engine with the containerd store knows an image; empty for others.
func manifestOf(t testing.TB, e *lab.Engine, id string) string {
	if e.Kind == lab.ModernContainerd {
		return id
	}
	return ""
}

// Archives as the tools make them.
func TestSourceArchives(t *testing.T) {
	for _, k := range lab.Dockers {
		t.Run(string(k), func(t *testing.T) {
			e := source(t, k)
			spec := sourceImage("source-archive:1", 100)
			build(t, e, spec)
			want := save(t, e, spec.Name)
			dir := t.TempDir()
			plain := filepath.Join(dir, "plain.tar")
			if _, err := e.Docker(t.Context(), "save", "-o", plain, spec.Name); err != nil {
				t.Fatal(err)
			}
			paths := []string{plain, "archive:" + plain + ":" + spec.Name}
			paths = append(paths, packed(t, plain, "gzip", "-1k"), packed(t, plain, "zstd", "-1qk"))
			for _, path := range paths {
				s, a := opened(t, images.Options{CacheDir: t.TempDir()}, path)
				t.Logf("%s: %s", path, a.Images[0].Origin)
				if a.Images[0].Ref != spec.Name {
					t.Errorf("%s: ref %s", path, a.Images[0].Ref)
				}
				same(t, a.Images[0], want)
				readAll(t, s, a.Images[0])
			}
		})
	}
}

// Archives and layouts as skopeo makes them, which writes the configuration anew when it converts.
func TestSourceSkopeo(t *testing.T) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skipped: skopeo is not installed: run scripts/install-lab.sh")
	}
	e := source(t, lab.Docker2010)
	spec := sourceImage("source-skopeo:1", 120)
	build(t, e, spec)
	want := save(t, e, spec.Name)
	dir := t.TempDir()
	for _, kind := range []string{"oci-archive", "docker-archive", "oci"} {
		path := filepath.Join(dir, kind+".tar")
		args := []string{"--insecure-policy", "copy", "docker-daemon:" + spec.Name, kind + ":" + path + ":" + spec.Name, "--src-daemon-host", e.Host()}
		if out, err := exec.Command("skopeo", args...).CombinedOutput(); err != nil {
			t.Fatalf("skopeo %v: %v: %s", args, err, out)
		}
		s, a := opened(t, images.Options{CacheDir: t.TempDir()}, path)
		img := a.Images[0]
		t.Logf("%s: %s", kind, img.Origin)
		var diffIDs []string
		for _, d := range img.DiffIDs() {
			diffIDs = append(diffIDs, string(d))
		}
		if img.Ref != spec.Name || !slices.Equal(diffIDs, want.DiffIDs) {
			t.Errorf("%s: ref %s, layers %v; want %v", kind, img.Ref, diffIDs, want.DiffIDs)
		}
		readAll(t, s, img)
	}
}

func packed(t testing.TB, path, program, flags string) string {
	t.Helper()
	if out, err := exec.Command(program, flags, path).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
	return path + map[string]string{"gzip": ".gz", "zstd": ".zst"}[program]
}

// A registry of the distribution, with a layer that takes its time: 1 GiB when asked for, 64 MiB every day.
func TestSourceRegistry(t *testing.T) {
	l := theLab(t)
	reg, err := l.Registry(t.Context())
	lab.Skip(t, err)
	e := source(t, lab.ModernContainerd)
	size := int64(64 << 20)
	if full() {
		size = 1 << 30
	}
	spec := lab.ImageSpec{Name: reg.Addr + "/team/source:1", Base: lab.Layer{Size: size, Seed: 110, Content: lab.Random}}
	build(t, e, spec)
	want := save(t, e, spec.Name)
	if _, err := e.Docker(t.Context(), "push", spec.Name); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_HOST", "unix:///nonexistent")
	began := time.Now()
	s, a := opened(t, images.Options{CacheDir: t.TempDir()}, "registry://"+spec.Name)
	same(t, a.Images[0], want)
	readAll(t, s, a.Images[0])
	t.Logf("read about twice in %v", time.Since(began))
}
