package cache

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// put keeps data in the cache, last used age ago.
func (c *Cache) put(t *testing.T, data []byte, age time.Duration) manifest.Digest {
	t.Helper()
	f, err := c.Temp()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := digest.FromBytes(data)
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := c.Keep(f, d); err != nil {
		t.Fatal(err)
	}
	when := time.Now().Add(-age)
	if err := os.Chtimes(c.Path(d), when, when); err != nil {
		t.Fatal(err)
	}
	return d
}

func (c *Cache) has(d manifest.Digest) bool {
	_, err := os.Stat(c.Path(d))
	return err == nil
}

func newCache(t testing.TB, dir string) *Cache {
	t.Helper()
	c, err := Open(dir, "layers")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What this process does not use goes first, oldest first, until there is room.
func TestTrim(t *testing.T) {
	dir := t.TempDir()
	before := newCache(t, dir)
	var ds []manifest.Digest
	for n := range 4 {
		ds = append(ds, before.put(t, bytes.Repeat([]byte{byte(n)}, 1<<20), time.Duration(10-n)*time.Hour))
	}
	c := newCache(t, dir)
	f, _, err := c.Open(ds[0]) // now in use, and the youngest
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for n := range ds {
		if !c.has(ds[n]) {
			t.Fatalf("blob %d went without need", n)
		}
	}
	free := Free(dir)
	c.Trim(free + 3<<19) // one and a half more than there is: two must go
	if !c.has(ds[0]) || c.has(ds[1]) || c.has(ds[2]) || !c.has(ds[3]) {
		t.Errorf("left: %v %v %v %v; want the one in use and the youngest of the others", c.has(ds[0]), c.has(ds[1]), c.has(ds[2]), c.has(ds[3]))
	}
	if err := c.MakeRoom("test", 1<<60); manifest.KindOf(err) != manifest.KindSpace {
		t.Errorf("more than the disk has: %v", err)
	}
	if !c.has(ds[0]) || c.has(ds[3]) {
		t.Error("for want of room, all but what is in use goes")
	}
}

// Files of dead writers go, those of live ones stay.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	c := newCache(t, dir)
	alive, err := c.Temp()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	gone, err := c.Temp()
	if err != nil {
		t.Fatal(err)
	}
	gone.Close() // as when its process had been killed
	kept := c.put(t, []byte("kept"), 0)
	newCache(t, dir)
	if !stillThere(alive) {
		t.Error("the file of a live writer was removed")
	}
	if _, err := os.Stat(gone.Name()); !os.IsNotExist(err) {
		t.Errorf("the file of a dead writer is left: %v", err)
	}
	if !c.has(kept) {
		t.Error("a complete file was removed")
	}
}

// Many caches on one folder at once, as many processes would have: no file is lost or half-written.
func TestCacheIsShared(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			c := newCache(t, dir)
			for i := range 20 {
				d := c.put(t, []byte(strings.Repeat(fmt.Sprint(i), 1000+n%2)), 0)
				f, _, err := c.Open(d)
				if err != nil {
					t.Error(err)
					return
				}
				f.Close()
			}
			c.Close()
		})
	}
	all.Wait()
	files, err := filepath.Glob(filepath.Join(dir, "layers", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil || digest.FromBytes(raw).Encoded() != filepath.Base(f) {
			t.Errorf("%s: %v", f, err)
		}
	}
	if len(files) != 40 {
		t.Errorf("%d files, want 40", len(files))
	}
}

func TestCacheFolder(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(taken, "below"), "layers"); manifest.KindOf(err) != manifest.KindPermission {
		t.Errorf("a folder that cannot be: %v", err)
	}
	base := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", base)
	c, err := Open("", "layers")
	if err != nil || c.dir != filepath.Join(base, "clara-push", "layers") {
		t.Errorf("%v, %v", c, err)
	}
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	if _, err := Open("", "layers"); manifest.KindOf(err) != manifest.KindUsage {
		t.Errorf("no home: %v", err)
	}
}
