//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/integration/meter"
)

// memoryLimit is what each end may take at most, in bytes.
const memoryLimit = 150e6

// A layer passes through both ends in small pieces, however large it is, and arrives right.
func TestMemory(t *testing.T) {
	t.Parallel()
	size := int64(600 << 20)
	if full() {
		size = 5 << 30
	}
	const ref = "huge:1"
	needDisk(t, 6*size)
	docker2010 := bulkyEngine(t, lab.Docker2010)
	build(t, docker2010, lab.ImageSpec{Name: ref, Base: lab.Layer{Content: lab.Half, Size: size, Seed: 750, Dir: "huge"}})
	sum := sumOf(t, docker2010, ref)
	archive := filepath.Join(theLab(t).Dir, "huge.tar")
	docker(t, docker2010, "save", "-o", archive, ref)
	t.Cleanup(func() { os.Remove(archive) })

	t.Run("graphdriver source", func(t *testing.T) {
		passesSmall(t, newClient(t, docker2010, bulkyHost(t, lab.Docker2010)), ref, ref, sum)
	})
	t.Run("archive", func(t *testing.T) {
		passesSmall(t, newClient(t, nil, bulkyHost(t, lab.ModernGraphdriver)), archive, ref, sum)
	})
	t.Run("bundle", func(t *testing.T) {
		loadsSmall(t, newClient(t, nil, bulkyHost(t, lab.Docker2010)), archive, ref, sum)
	})
	t.Run("containerd source", func(t *testing.T) {
		modern := bulkyEngine(t, lab.ModernContainerd)
		docker(t, modern, "load", "-i", archive)
		os.Remove(archive)
		passesSmall(t, newClient(t, modern, bulkyHost(t, lab.ModernContainerd)), ref, ref, sum)
	})
}

// needDisk skips the test where the lab's disk has not so many bytes free.
func needDisk(t *testing.T, bytes int64) {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(theLab(t).Dir, &fs); err != nil {
		t.Fatal(err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < bytes {
		t.Skipf("skipped: %s are needed in %s, %s are free: choose another folder with CLARA_PUSH_LAB_DIR", mb(bytes), theLab(t).Dir, mb(free))
	}
}

// bulkyEngine is newEngine for one whose data shall go with the test, not with the lab.
func bulkyEngine(t *testing.T, k lab.Kind) *lab.Engine {
	t.Helper()
	var e *lab.Engine
	t.Cleanup(func() {
		if e == nil {
			return
		}
		if err := os.RemoveAll(e.DataRoot); err != nil {
			t.Errorf("remove the data of %s: %v", e.Name, err)
		}
	})
	e = newEngine(t, k, lab.EngineOptions{})
	return e
}

// bulkyHost is newHost likewise.
func bulkyHost(t *testing.T, k lab.Kind) *lab.Host {
	t.Helper()
	h := newHostOf(t, bulkyEngine(t, k), lab.HostOptions{})
	install(t, program(t), h)
	return h
}

// passesSmall pushes an image and watches the memory of the client and of all agents together.
func passesSmall(t *testing.T, c *client, image, ref, sum string) {
	c.Limit = 20 * time.Minute
	r := c.start("image", "--json", "-v", image, "target")
	watch := meter.WatchMemory(func() []int { return agentsOf(c.Host) })
	res := r.wait()
	peaks := []int64{res.Peak, watch.Stop()[0]}
	res.parse(t)
	res.exits(t, 0)
	t.Logf("peak memory: client %s, agents %s; %s sent in %v", mb(peaks[0]), mb(peaks[1]), mb(res.Up), res.Took.Round(100*time.Millisecond))
	for n, who := range []string{"client", "agents"} {
		if peaks[n] == 0 {
			t.Errorf("the memory of the %s was not seen", who)
		}
		if peaks[n] > memoryLimit {
			t.Errorf("the %s took %s of memory, at most %s are allowed", who, mb(peaks[n]), mb(memoryLimit))
		}
	}
	if got := sumOf(t, c.Host.Engine, ref); got != sum {
		t.Errorf("on the host a container sums its files up to %s, want %s", got, sum)
	}
}

// loadsSmall makes a bundle of an image, checks and loads it into the client's host as if that were this machine, and watches the
// memory of each of the three.
func loadsSmall(t *testing.T, c *client, image, ref, sum string) {
	c.Limit = 20 * time.Minute
	bundle := filepath.Join(theLab(t).Dir, "huge-bundle.tar")
	t.Cleanup(func() { os.Remove(bundle) })
	for _, words := range [][]string{
		{"bundle", "-o", bundle, "--image", image},
		{"verify", "--allow-unsigned", bundle},
		{"load", "--allow-unsigned", "--state-dir", filepath.Join(c.Home, "state"), "--host-engine", c.Host.Engine.Host(), bundle},
	} {
		res := c.run(append(words, "--json")...)
		res.parse(t)
		res.exits(t, 0)
		t.Logf("peak memory: %s %s, in %v", words[0], mb(res.Peak), res.Took.Round(100*time.Millisecond))
		if res.Peak == 0 || res.Peak > memoryLimit {
			t.Errorf("%s took %s of memory, at most %s are allowed", words[0], mb(res.Peak), mb(memoryLimit))
		}
	}
	if got := sumOf(t, c.Host.Engine, ref); got != sum {
		t.Errorf("on the host a container sums its files up to %s, want %s", got, sum)
	}
}

// sumOf has a container of the image sum up its files.
func sumOf(t *testing.T, e *lab.Engine, ref string) string {
	t.Helper()
	return docker(t, e, "run", "--rm", "--network", "none", ref, "/hello", "sum", "/huge")
}
