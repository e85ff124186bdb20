//go:build linux

package integration

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/integration/meter"
	"github.com/clara-push/clara-push/pkg/bundle"
	"github.com/clara-push/clara-push/pkg/manifest"
	images "github.com/clara-push/clara-push/pkg/source"
)

// Killed at any moment, clara-push bundle leaves the former bundle or the new one under the name, whole, and the next run
// clears away what it left beside.
func TestBundleKilled(t *testing.T) {
	kills := 10
	if full() {
		kills = 50
	}
	b := newBundler(t, nil)
	old, fresh := bulkyModel(t, "killed", 1), bulkyModel(t, "killed", 2)
	for form, args := range map[string][]string{
		"tar":    {"-o", "release.tar"},
		"parts":  {"-o", "cut.tar", "--split", "3MB"},
		"folder": {"-o", "layout/"},
	} {
		t.Run(form, func(t *testing.T) {
			b.t = t
			index := func(model string) any {
				return b.bundle(append(args, "--model", model)...)["bundle"].(map[string]any)["index"]
			}
			second := index(fresh)
			began := time.Now()
			first := index(old)
			took := time.Since(began)
			seen := map[any]int{}
			for range kills {
				b.killed(rand.N(took*5/4), append(args, "--model", fresh)...)
				got := wholeBundle(t, filepath.Join(b.home, args[1]), form)
				if got != first && got != second && got != "" {
					t.Errorf("after a kill there is %v", got)
				}
				if seen[got]++; got != first {
					index(old)
				}
			}
			t.Logf("in %v each; after %d kills: %d times the former, %d times the new one, %d times none", took.Round(time.Millisecond), kills, seen[first], seen[second], seen[""])
			if b.bundle(append(args, "--model", fresh)...)["bundle"].(map[string]any)["index"] != second {
				t.Error("the last run made another bundle")
			}
			if wholeBundle(t, filepath.Join(b.home, args[1]), form) != second {
				t.Error("the last run did not finish")
			}
			if left, _ := filepath.Glob(filepath.Join(b.home, "*clara-push-tmp")); len(left) > 0 {
				t.Errorf("left beside: %v", left)
			}
		})
	}
}

// bulkyModel is a model whose writing takes a while; seed tells its versions apart.
func bulkyModel(t *testing.T, name string, seed uint64) string {
	t.Helper()
	dir := plainModel(t, name, "class TritonPythonModel:\n    pass\n")
	random := rand.New(rand.NewPCG(seed, seed))
	raw := make([]byte, 40<<20)
	for n := range raw {
		raw[n] = byte(random.Uint32())
	}
	must(t, os.WriteFile(filepath.Join(dir, "1", "weights.bin"), raw, 0o644))
	return dir
}

// killed runs clara-push bundle and kills it after some time.
func (b *bundler) killed(after time.Duration, args ...string) {
	b.t.Helper()
	cmd := exec.Command(program(b.t), append([]string{"bundle", "--quiet"}, args...)...)
	cmd.Dir, cmd.Env = b.home, b.environ()
	must(b.t, cmd.Start())
	time.Sleep(after)
	_ = cmd.Process.Kill() // it may have ended
	_ = cmd.Wait()
}

// wholeBundle verifies the bundle of that name and returns the digest of its index; empty when there is none. Parts without
// their list are none.
func wholeBundle(t *testing.T, path, form string) any {
	t.Helper()
	if form == "parts" {
		path += ".parts.json"
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if form == "tar" {
			t.Error("the former bundle is gone")
		}
		return ""
	}
	b, err := bundle.Open(t.Context(), path, bundle.OpenOptions{})
	if err != nil {
		t.Errorf("after a kill: %v", err)
		return ""
	}
	defer b.Close()
	if err := b.Verify(t.Context(), nil, nil); err != nil {
		t.Errorf("after a kill: %v", err)
	}
	return string(b.Digest())
}

// A disk that fills up while the bundle is written, which nobody could know before, leaves nothing under the name.
func TestBundleDiskFull(t *testing.T) {
	dir := filepath.Join(theLab(t).Dir, "bundle-small") // unmounted with the lab
	must(t, theLab(t).SmallFS(dir, 64))
	models, err := images.OpenModels(t.Context(), []string{bulkyModel(t, "full", 3)}, images.ModelOptions{CacheDir: t.TempDir()})
	must(t, err)
	o := bundle.WriteOptions{WorkDir: t.TempDir()}
	filled := false
	o.Events = func(e manifest.Event) {
		if e.Step == manifest.StepWrite && !filled {
			filled = true
			fill(t, dir)
		}
	}
	_, err = bundle.Write(t.Context(), models, filepath.Join(dir, "release.tar"), o)
	if manifest.KindOf(err) != manifest.KindSpace {
		t.Errorf("%v", err)
	}
	_, err = bundle.Write(t.Context(), models, filepath.Join(dir, "release.tar"), bundle.WriteOptions{WorkDir: t.TempDir()})
	if manifest.KindOf(err) != manifest.KindSpace {
		t.Errorf("on a full disk: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*release*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A large layer passes through in small pieces: saved by the engine, compressed, written and read back.
func TestBundleMemory(t *testing.T) {
	size := int64(600 << 20)
	if full() {
		size = 5 << 30
	}
	needDisk(t, 6*size)
	const ref = "bundle-huge:1"
	e := bulkyEngine(t, lab.Docker2010)
	build(t, e, lab.ImageSpec{Name: ref, Base: lab.Layer{Content: lab.Half, Size: size, Seed: 904, Dir: "huge"}})
	b := newBundler(t, e)
	cmd := exec.Command(program(t), "bundle", "-o", "x.tar", "--split", "4GB", "--verify-write", "--image", ref)
	cmd.Dir, cmd.Env = b.home, b.environ()
	began := time.Now()
	must(t, cmd.Start())
	watch := meter.WatchMemory(func() []int { return []int{cmd.Process.Pid} })
	must(t, cmd.Wait())
	peak := watch.Stop()[0]
	t.Logf("peak memory %s, in %v", mb(peak), time.Since(began).Round(100*time.Millisecond))
	if peak == 0 || peak > memoryLimit {
		t.Errorf("it took %s of memory, at most %s are allowed", mb(peak), mb(memoryLimit))
	}
}
