package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A split bundle is the tar cut into FILE.001, FILE.002, …: cat joins them. FILE.parts.json lists them; it is written last, so
// parts without it are no bundle.

// countParts is how many parts of at most limit bytes a bundle of size bytes has.
func countParts(size, limit int64) (int64, error) {
	n := (size + limit - 1) / limit
	if n > maxParts {
		return n, manifest.Fail(manifest.KindUsage, "write bundle", "it would have %d parts, at most %d are allowed", n, maxParts).
			Advise("make larger ones, such as --split %d", size/maxParts+1)
	}
	return n, nil
}

// A cutter writes a stream into files of limit bytes each, or into one file when limit is 0.
type cutter struct {
	dir    string
	limit  int64
	hashed bool // digests are wanted
	flush  bool // what is written goes to the medium soon, so that progress is what it seems

	files []made
	file  *os.File // the last of files; nil when none is open
	hash  hash.Hash
	dirty int64
}

// flushEvery is how many bytes wait in memory at most where the cutter flushes.
const flushEvery = 64 << 20

func (c *cutter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if err := c.ready(); err != nil {
			return written, err
		}
		at := &c.files[len(c.files)-1]
		now := p
		if c.limit > 0 {
			now = p[:min(int64(len(p)), c.limit-at.size)]
		}
		n, err := c.file.Write(now)
		at.size += int64(n)
		written += n
		if c.hash != nil {
			c.hash.Write(now[:n])
		}
		if err != nil {
			return written, err
		}
		if err := c.wrote(n); err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// ready makes sure that a file with room is open.
func (c *cutter) ready() error {
	if c.file != nil && (c.limit == 0 || c.files[len(c.files)-1].size < c.limit) {
		return nil
	}
	if err := c.close(); err != nil {
		return err
	}
	path := filepath.Join(c.dir, fmt.Sprintf("%03d", len(c.files)+1))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	c.file, c.files = f, append(c.files, made{path: path})
	if c.hashed {
		c.hash = sha256.New()
	}
	return nil
}

func (c *cutter) wrote(n int) error {
	if c.dirty += int64(n); !c.flush || c.dirty < flushEvery {
		return nil
	}
	c.dirty = 0
	return c.file.Sync()
}

// close ends the file that is open; its bytes are on the disk then.
func (c *cutter) close() error {
	if c.file == nil {
		return nil
	}
	if c.hash != nil {
		c.files[len(c.files)-1].digest = manifest.Digest("sha256:" + hex.EncodeToString(c.hash.Sum(nil)))
	}
	err := c.file.Sync()
	if cerr := c.file.Close(); err == nil {
		err = cerr
	}
	c.file = nil
	return err
}

// removeIfThere removes a file; that it is not there is no error.
func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeSynced writes a new small file.
func writeSynced(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
