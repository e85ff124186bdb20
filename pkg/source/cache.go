package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// maxCache bounds what the cache keeps between runs; maxShare is how many hundredths of the room it may take at most.
const (
	maxCache = 20 << 30
	maxShare = 20
)

// reserve is the room on the file system that the cache never takes.
const reserve = 64 << 20

// tempPrefix begins the name of a file that is not complete.
const tempPrefix = "tmp-"

// cache keeps blobs by digest in one folder that all processes of a user share. A file under its digest is complete and
// had that digest when it was written; readers check again. The least recently used go when it grows over its limit,
// never those that this process uses.
type cache struct {
	dir string

	mu   sync.Mutex
	used map[manifest.Digest]bool
}

// openCache opens the cache below dir, or below the user's cache folder when dir is empty, and removes what dead processes
// left half-written.
func openCache(dir string) (*cache, error) {
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return nil, manifest.Fail(manifest.KindUsage, "open cache", "%w", err).Advise("name a folder with --cache-dir")
		}
		dir = filepath.Join(base, "clara-push")
	}
	c := &cache{dir: filepath.Join(dir, "layers"), used: map[manifest.Digest]bool{}}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, manifest.Fail(manifest.KindPermission, "open cache", "%w", err).Advise("name another folder with --cache-dir")
	}
	c.sweep()
	return c, nil
}

func (c *cache) path(d manifest.Digest) string { return filepath.Join(c.dir, d.Encoded()) }

// open opens a blob that is there, for reading; fs.ErrNotExist else.
func (c *cache) open(d manifest.Digest) (*fileSection, error) {
	if err := manifest.CheckDigest(d); err != nil {
		return nil, err
	}
	f, err := os.Open(c.path(d))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	c.use(d)
	return &fileSection{File: f, size: info.Size()}, nil
}

// size returns how large a blob is in bytes, and whether it is there.
func (c *cache) size(d manifest.Digest) (int64, bool) {
	info, err := os.Stat(c.path(d))
	if err != nil {
		return manifest.UnknownSize, false
	}
	c.use(d)
	return info.Size(), true
}

// use marks d as used now, and as not to be removed by this process.
func (c *cache) use(d manifest.Digest) {
	c.mu.Lock()
	first := !c.used[d]
	c.used[d] = true
	c.mu.Unlock()
	if first {
		now := time.Now()
		os.Chtimes(c.path(d), now, now) // only the order of eviction depends on it
	}
}

// temp makes a file to be written, which only this process holds until it is kept or dropped.
func (c *cache) temp() (*os.File, error) {
	for {
		f, err := os.CreateTemp(c.dir, tempPrefix)
		if err != nil {
			return nil, full("write cache", err)
		}
		// Between making and locking, another process may have taken the file for a dead one.
		if lock(f) && stillThere(f) {
			return f, nil
		}
		f.Close()
	}
}

func stillThere(f *os.File) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(open, named)
}

// keep gives the complete file f, whose bytes have the digest d, its final name.
func (c *cache) keep(f *os.File, d manifest.Digest) error {
	c.use(d)
	if err := os.Rename(f.Name(), c.path(d)); err != nil {
		return fmt.Errorf("keep %s in cache: %w", d, err)
	}
	return nil
}

// drop removes a blob that is not what its name says.
func (c *cache) drop(d manifest.Digest) { os.Remove(c.path(d)) }

// sweep removes half-written files whose writer is gone.
func (c *cache) sweep() {
	names, _ := filepath.Glob(filepath.Join(c.dir, tempPrefix+"*"))
	for _, name := range names {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if dead(f) {
			os.Remove(name)
		}
		f.Close()
		removeUnlocked(name)
	}
}

// cached is one complete file of the cache.
type cached struct {
	digest manifest.Digest
	size   int64
	used   time.Time
}

// list returns all complete files, least recently used first, and their sum in bytes.
func (c *cache) list() ([]cached, int64) {
	entries, _ := os.ReadDir(c.dir)
	var all []cached
	var sum int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		all = append(all, cached{digest: manifest.Digest("sha256:" + e.Name()), size: info.Size(), used: info.ModTime()})
		sum += info.Size()
	}
	slices.SortFunc(all, func(a, b cached) int { return a.used.Compare(b.used) })
	return all, sum
}

// trim removes the least recently used blobs until the cache is within its limit and free bytes more would fit, or until
// only what this process uses is left.
func (c *cache) trim(free int64) {
	all, sum := c.list()
	room := freeBytes(c.dir)
	limit := int64(maxCache)
	if room != manifest.UnknownSize {
		limit = min(limit, (room+sum)/100*maxShare)
	}
	for _, e := range all {
		if sum <= limit && (room == manifest.UnknownSize || room >= free) {
			return
		}
		c.mu.Lock()
		keep := c.used[e.digest]
		c.mu.Unlock()
		if !keep && os.Remove(c.path(e.digest)) == nil {
			sum -= e.size
			room += e.size
		}
	}
}

// makeRoom removes old blobs until need more bytes fit, and fails with KindSpace when they cannot.
func (c *cache) makeRoom(need int64) error {
	c.trim(need + reserve)
	room := freeBytes(c.dir)
	if room == manifest.UnknownSize || room >= need+reserve {
		return nil
	}
	return manifest.Fail(manifest.KindSpace, "read image", "%s are needed in %s, %s are free", manifest.FormatBytes(need), c.dir, manifest.FormatBytes(room)).
		Advise("free some space there, or name a folder on another disk with --cache-dir")
}

// close lets go of what this process used and brings the cache within its limit.
func (c *cache) close() {
	c.mu.Lock()
	c.used = map[manifest.Digest]bool{}
	c.mu.Unlock()
	c.trim(0)
}

// full makes a failure of KindSpace of an error that says that the disk is full.
func full(step string, err error) error {
	if noSpace(err) {
		return manifest.Fail(manifest.KindSpace, step, "%w", err).
			Advise("free some space there, or name a folder on another disk with --cache-dir")
	}
	if errors.Is(err, fs.ErrPermission) {
		return manifest.Fail(manifest.KindPermission, step, "%w", err).Advise("name another folder with --cache-dir")
	}
	return err
}
