//go:build linux

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/clara-push/clara-push/integration/lab"
)

// A bundler is a machine on which bundles are made: a home with its cache, and perhaps an engine.
type bundler struct {
	t      testing.TB
	engine *lab.Engine // nil: none
	home   string
}

// bundle runs "clara-push bundle --json ARGS", which must end with 0, and returns its summary.
func (b *bundler) bundle(args ...string) map[string]any {
	b.t.Helper()
	cmd := exec.Command(program(b.t), append([]string{"bundle", "--json"}, args...)...)
	cmd.Dir, cmd.Env = b.home, b.environ()
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		b.t.Fatalf("clara-push bundle %v: %v\n%s", args, err, errOut.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var summary map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &summary); err != nil {
		b.t.Fatal(err)
	}
	return summary
}

func (b *bundler) environ() []string {
	docker := "unix:///nonexistent/docker.sock"
	if b.engine != nil {
		docker = b.engine.Host()
	}
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + b.home, "LC_ALL=C.UTF-8", "DOCKER_HOST=" + docker, "CLARA_PUSH_LAB=" + theLab(b.t).Dir}
}

// newBundler has the images in an engine of its own kind.
func newBundler(t testing.TB, e *lab.Engine) *bundler {
	return &bundler{t: t, engine: e, home: t.TempDir()}
}

// plainModel is a model that every server takes.
func plainModel(t testing.TB, name, code string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	config := fmt.Sprintf("name: %q\nbackend: \"python\"\ninput { name: \"x\" data_type: TYPE_FP32 dims: 1 }\noutput { name: \"y\" data_type: TYPE_FP32 dims: 1 }\n", name)
	for path, text := range map[string]string{"config.pbtxt": config, "1/model.py": code, "1/weights.bin": strings.Repeat(code, 1000)} {
		at := filepath.Join(dir, path)
		must(t, os.MkdirAll(filepath.Dir(at), 0o755))
		must(t, os.WriteFile(at, []byte(text), 0o644))
	}
	return dir
}

// everyEngine are the engines that plain tools load a bundle into.
var everyEngine = []lab.Kind{lab.Docker2010, lab.ModernGraphdriver, lab.ModernContainerd, lab.Podman}

// loadPlainly loads a file without clara-push, as a hospital without it would.
func loadPlainly(t testing.TB, e *lab.Engine, file string) (string, error) {
	if e.Kind == lab.Podman {
		return e.Podman(t.Context(), "load", "-i", file)
	}
	return e.Docker(t.Context(), "load", "-i", file)
}

// configOf is the digest of the configuration of an image, which every store has.
func configOf(t testing.TB, e *lab.Engine, ref string) string {
	t.Helper()
	if e.Kind == lab.Podman {
		id, err := e.Podman(t.Context(), "image", "inspect", "--format", "{{.Id}}", ref)
		must(t, err)
		return "sha256:" + id
	}
	return save(t, e, ref).Config
}

// TestBundleLoadsPlainly builds two images on one base, puts them into a bundle with a model, and loads that by the tools of
// every engine: all images are there under their names and run, and no name is a model's. A differential bundle moves no name.
func TestBundleLoadsPlainly(t *testing.T) {
	e := source(t, lab.Docker2010)
	base := lab.Layer{Size: 1 << 20, Seed: 900}
	first, second := "bundle-first:1", "registry.example.com/team/bundle-second:2"
	build(t, e, lab.ImageSpec{Name: first, Message: "first", Base: base})
	build(t, e, lab.ImageSpec{Name: second, Message: "second", Base: base})
	b, model := newBundler(t, e), plainModel(t, "bundle_liver", "class TritonPythonModel:\n    pass\n")
	file := filepath.Join(b.home, "release.tar")
	b.bundle("-o", file, "--image", first, "--image", second, "--model", model)
	want := map[string]string{first: save(t, e, first).Config, second: save(t, e, second).Config}

	build(t, e, lab.ImageSpec{Name: first, Message: "changed", Base: base})
	update := filepath.Join(b.home, "update.tar")
	b.bundle("-o", update, "--image", first, "--model", model, "--since", file)

	for _, k := range everyEngine {
		t.Run(string(k), func(t *testing.T) {
			host := newEngine(t, k, lab.EngineOptions{})
			out, err := loadPlainly(t, host, file)
			must(t, err)
			t.Logf("it said %q", out)
			for ref, config := range want {
				if got := configOf(t, host, ref); got != config {
					t.Errorf("%s has the configuration %s, want %s", ref, got, config)
				}
			}
			runs(t, host, first, "first")
			runs(t, host, second, "second")
			before := namesOn(t, host)
			if len(before) != 2 || k == lab.Podman && !slices.ContainsFunc(before, func(n string) bool { return strings.HasSuffix(n, " docker.io/library/"+first) }) {
				t.Errorf("it has the names %v", before)
			}
			out, err = loadPlainly(t, host, update)
			t.Logf("of the differential one it said %q, %v", out, err)
			if after := namesOn(t, host); !slices.Equal(before, after) {
				t.Errorf("a differential bundle made %v of the names %v", after, before)
			}
			runs(t, host, first, "first")
		})
	}
}

// namesOn lists the names that an engine gives to images, with what they point at.
func namesOn(t testing.TB, e *lab.Engine) []string {
	t.Helper()
	var names []string
	for _, i := range imagesOf(t, e) {
		if !strings.HasSuffix(i, "<none>:<none>") {
			names = append(names, i)
		}
	}
	slices.Sort(names)
	return names
}

// The same images, from engines of different stores, are the same to every engine; the same from the same source are the same
// file, however much of it was in the cache.
func TestBundleFromEveryStore(t *testing.T) {
	const ref = "bundle-stores:1"
	e := source(t, lab.Docker2010)
	build(t, e, lab.ImageSpec{Name: ref, Message: "stores", Base: lab.Layer{Size: 1 << 20, Seed: 901}})
	archive := filepath.Join(t.TempDir(), "saved.tar")
	docker(t, e, "save", "-o", archive, ref)
	want := save(t, e, ref).Config
	for _, k := range []lab.Kind{lab.Docker2010, lab.ModernGraphdriver, lab.ModernContainerd} {
		from := source(t, k)
		if k != lab.Docker2010 {
			docker(t, from, "load", "-i", archive)
		}
		var files [][]byte
		for range 2 { // the second with an empty cache
			b := newBundler(t, from)
			sum := b.bundle("-o", "x.tar", "--image", ref)
			raw, err := os.ReadFile(filepath.Join(b.home, "x.tar"))
			must(t, err)
			files = append(files, raw)
			b.bundle("-o", "y.tar", "--image", ref)
			again, err := os.ReadFile(filepath.Join(b.home, "y.tar"))
			must(t, err)
			files = append(files, again)
			image := sum["bundle"].(map[string]any)["images"].([]any)[0].(map[string]any)
			if image["config"] != want {
				t.Errorf("%s: the configuration is %s, want %s", k, image["config"], want)
			}
		}
		for n, f := range files {
			if !bytes.Equal(f, files[0]) {
				t.Errorf("%s: bundle %d has other bytes than the first", k, n)
			}
		}
	}
}

// What a registry has is kept byte for byte, Docker's own kinds of manifest too, and every engine loads it.
func TestBundleKeepsManifest(t *testing.T) {
	for name, k := range map[string]lab.Kind{"docker manifest": lab.Docker2010, "oci manifest": lab.ModernContainerd} {
		t.Run(name, func(t *testing.T) {
			e := source(t, k)
			ref := "bundle-kept-" + strings.Split(name, " ")[0] + ":1"
			build(t, e, lab.ImageSpec{Name: ref, Message: "kept", Base: lab.Layer{Size: 1 << 20, Seed: 902}})
			pushed := inRegistry(t, e, ref, nil)
			b := newBundler(t, nil)
			file := filepath.Join(b.home, "kept.tar")
			sum := b.bundle("-o", file, "--image", "registry://"+pushed)
			image := sum["bundle"].(map[string]any)["images"].([]any)[0].(map[string]any)
			if image["composed"] != false {
				t.Errorf("the manifest was made anew: %v", image)
			}
			for _, k := range everyEngine {
				host := newEngine(t, k, lab.EngineOptions{})
				if out, err := loadPlainly(t, host, file); err != nil {
					t.Errorf("%s: %v: %s", k, err, out)
					continue
				}
				runs(t, host, image["ref"].(string), "kept")
			}
		})
	}
}

// Other tools read a bundle: skopeo the tar, go-containerregistry the folder.
func TestBundleIsReadByOthers(t *testing.T) {
	const ref = "bundle-others:1"
	e := source(t, lab.Docker2010)
	build(t, e, lab.ImageSpec{Name: ref, Message: "others", Base: lab.Layer{Size: 1 << 20, Seed: 903}})
	b, model := newBundler(t, e), plainModel(t, "others", "class TritonPythonModel:\n    pass\n")
	b.bundle("-o", "x.tar", "--image", ref, "--model", model)
	b.bundle("-o", "layout/", "--image", ref, "--model", model)

	index, err := ggcr.ImageIndexFromPath(filepath.Join(b.home, "layout"))
	must(t, err)
	m, err := index.IndexManifest()
	must(t, err)
	img, err := index.Image(m.Manifests[0].Digest)
	must(t, err)
	if err := validate.Image(img); err != nil {
		t.Errorf("go-containerregistry: %v", err)
	}
	if config, err := img.ConfigName(); err != nil || config.String() != save(t, e, ref).Config {
		t.Errorf("go-containerregistry: configuration %s, %v", config, err)
	}
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skipped: skopeo is not installed (apt-get install skopeo)")
	}
	out, err := exec.Command(skopeo, "inspect", "oci-archive:"+filepath.Join(b.home, "x.tar")+":"+ref).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"Architecture"`) {
		t.Errorf("skopeo: %v: %s", err, out)
	}
}
