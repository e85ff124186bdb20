// Package cache keeps blobs by digest in one folder that all processes of a user share, from one run to the next: layers
// that an engine can only save as part of a whole image, layers that were compressed for a bundle.
//
// It is not a stage (package loader has that) and gives no promise: what it holds may be gone the next time. Read Cache.
package cache

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

// maxCache bounds what a cache keeps between runs; maxShare is how many hundredths of the room it may take at most.
const (
	maxCache = 20 << 30
	maxShare = 20
)

// Reserve is the room on the file system, in bytes, that a cache never takes.
const Reserve = 64 << 20

// tempPrefix begins the name of a file that is not complete.
const tempPrefix = "tmp-"

// Cache is one folder of blobs. A file under its digest is complete and had that digest when it was written; readers check
// again. The least recently used go when it grows over its limit, never those that this process uses. Its methods may be
// called from several goroutines.
type Cache struct {
	dir string

	mu   sync.Mutex
	used map[manifest.Digest]bool
}

// Open opens the cache called room below dir, or below clara-push in the user's cache folder when dir is empty, and removes
// what dead processes left half-written.
func Open(dir, room string) (*Cache, error) {
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return nil, manifest.Fail(manifest.KindUsage, "open cache", "%w", err).Advise("name a folder with --cache-dir")
		}
		dir = filepath.Join(base, "clara-push")
	}
	c := &Cache{dir: filepath.Join(dir, room), used: map[manifest.Digest]bool{}}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, manifest.Fail(manifest.KindPermission, "open cache", "%w", err).Advise("name another folder with --cache-dir")
	}
	c.sweep()
	return c, nil
}

// Dir is the folder that the blobs are in.
func (c *Cache) Dir() string { return c.dir }

// Path is where the blob d is, or would be. The digest must have passed CheckDigest.
func (c *Cache) Path(d manifest.Digest) string { return filepath.Join(c.dir, d.Encoded()) }

// Open opens a blob that is there, for reading, and tells its size in bytes; fs.ErrNotExist else.
func (c *Cache) Open(d manifest.Digest) (*os.File, int64, error) {
	if err := manifest.CheckDigest(d); err != nil {
		return nil, 0, err
	}
	f, err := os.Open(c.Path(d))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	c.use(d)
	return f, info.Size(), nil
}

// Size returns how large a blob is in bytes, and whether it is there.
func (c *Cache) Size(d manifest.Digest) (int64, bool) {
	info, err := os.Stat(c.Path(d))
	if err != nil {
		return manifest.UnknownSize, false
	}
	c.use(d)
	return info.Size(), true
}

// use marks d as used now, and as not to be removed by this process.
func (c *Cache) use(d manifest.Digest) {
	c.mu.Lock()
	first := !c.used[d]
	c.used[d] = true
	c.mu.Unlock()
	if first {
		now := time.Now()
		os.Chtimes(c.Path(d), now, now) // only the order of eviction depends on it
	}
}

// Temp makes a file to be written, which only this process holds until it is kept or discarded.
func (c *Cache) Temp() (*os.File, error) {
	for {
		f, err := os.CreateTemp(c.dir, tempPrefix)
		if err != nil {
			return nil, Failure("write cache", err)
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

// Discard closes and removes a file of Temp that will not be kept.
func Discard(f *os.File) {
	f.Close()
	os.Remove(f.Name())
}

// Keep gives the complete file f of Temp, whose bytes have the digest d, its final name.
func (c *Cache) Keep(f *os.File, d manifest.Digest) error {
	c.use(d)
	if err := os.Rename(f.Name(), c.Path(d)); err != nil {
		return fmt.Errorf("keep %s in cache: %w", d, err)
	}
	return nil
}

// Finish closes the complete file f of Temp, whose bytes have the digest d, and gives it its final name.
func (c *Cache) Finish(f *os.File, d manifest.Digest) error {
	kept := c.Keep(f, d)
	err := f.Close()
	if err == nil && kept != nil {
		kept = c.Keep(f, d) // Windows renames only what is closed
	}
	if err = errors.Join(err, kept); err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Drop removes a blob that is not what its name says.
func (c *Cache) Drop(d manifest.Digest) { os.Remove(c.Path(d)) }

// sweep removes half-written files whose writer is gone.
func (c *Cache) sweep() {
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
func (c *Cache) list() ([]cached, int64) {
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

// Trim removes the least recently used blobs until the cache is within its limit and free bytes more would fit, or until
// only what this process uses is left.
func (c *Cache) Trim(free int64) {
	all, sum := c.list()
	room := Free(c.dir)
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
		if !keep && os.Remove(c.Path(e.digest)) == nil {
			sum -= e.size
			room += e.size
		}
	}
}

// MakeRoom removes old blobs until need more bytes fit, and fails with KindSpace when they cannot.
func (c *Cache) MakeRoom(step string, need int64) error {
	c.Trim(need + Reserve)
	room := Free(c.dir)
	if room == manifest.UnknownSize || room >= need+Reserve {
		return nil
	}
	return manifest.Fail(manifest.KindSpace, step, "%s are needed in %s, %s are free", manifest.FormatBytes(need), c.dir, manifest.FormatBytes(room)).
		Advise("free some space there, or name a folder on another disk with --cache-dir")
}

// Close lets go of what this process used and brings the cache within its limit.
func (c *Cache) Close() {
	c.mu.Lock()
	c.used = map[manifest.Digest]bool{}
	c.mu.Unlock()
	c.Trim(0)
}

// Failure types an error of writing a cache: KindSpace where the disk is full, KindPermission where it may not be written.
func Failure(step string, err error) error {
	if NoSpace(err) {
		return manifest.Fail(manifest.KindSpace, step, "%w", err).
			Advise("free some space there, or name a folder on another disk with --cache-dir")
	}
	if errors.Is(err, fs.ErrPermission) {
		return manifest.Fail(manifest.KindPermission, step, "%w", err).Advise("name another folder with --cache-dir")
	}
	return err
}
