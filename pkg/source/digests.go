package source

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// look is what tells a file apart from a later state of it without reading it. CTime and Inode are 0 where the system has
// none.
type look struct {
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime"` // nanoseconds
	CTime int64  `json:"ctime"`
	Inode uint64 `json:"inode"`
}

// seen is one remembered digest.
type seen struct {
	look
	Digest manifest.Digest `json:"digest"`
	Used   int64           `json:"used"` // when, in seconds
}

// digests remembers what files hashed to, by path and look, from one push to the next. It is a help only: when it cannot be
// read or written, files are hashed again.
type digests struct {
	path string

	mu      sync.Mutex
	known   map[string]seen
	changed bool
}

// What is not remembered: digests that nobody used for so long, and files so young that they could change and look the same.
const (
	forgetAfter = 90 * 24 * time.Hour
	tooYoung    = 50 * time.Millisecond
)

func openDigests(dir string) *digests {
	c := &digests{known: map[string]seen{}}
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return c
		}
		dir = filepath.Join(user, "clara-push")
	}
	c.path = filepath.Join(dir, "digests.json")
	if raw, err := os.ReadFile(c.path); err == nil {
		_ = json.Unmarshal(raw, &c.known)
	}
	return c
}

// digest returns the digest of the file at path, from memory or by reading it, and how the file looked.
func (c *digests) digest(ctx context.Context, path string) (manifest.Digest, look, error) {
	now := time.Now()
	if k, ok := c.recall(path); ok {
		if now.Unix()-k.Used > 24*3600 {
			c.note(path, seen{k.look, k.Digest, now.Unix()})
		}
		return k.Digest, k.look, nil
	}
	d, l, err := hashFile(ctx, path)
	if err == nil && now.UnixNano()-cmp.Or(l.CTime, l.MTime) > int64(tooYoung) { // an mtime may lie ahead
		c.note(path, seen{l, d, now.Unix()})
	}
	return d, l, err
}

// recall returns what is remembered of the file at path, if it still looks the same.
func (c *digests) recall(path string) (seen, bool) {
	c.mu.Lock()
	k, ok := c.known[path]
	c.mu.Unlock()
	if !ok || manifest.CheckDigest(k.Digest) != nil {
		return k, false
	}
	info, err := os.Stat(path)
	return k, err == nil && k.look == lookOf(info)
}

func (c *digests) note(path string, s seen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[path], c.changed = s, true
}

func (c *digests) forget(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, path)
	c.changed = true
}

// save writes down what was learned. That it cannot is no reason to fail.
func (c *digests) save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.changed || c.path == "" {
		return nil
	}
	limit := time.Now().Add(-forgetAfter).Unix()
	for p, s := range c.known {
		if s.Used < limit {
			delete(c.known, p)
		}
	}
	raw, err := json.Marshal(c.known)
	if err != nil {
		return err
	}
	if os.MkdirAll(filepath.Dir(c.path), 0o700) == nil {
		_ = writeBeside(c.path, raw)
	}
	return nil
}

// writeBeside writes the file under another name first, so that path is never half-written.
func writeBeside(path string, raw []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-")
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
