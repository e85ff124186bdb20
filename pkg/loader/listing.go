//go:build linux

package loader

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// maxListing caps a listing that is read, in bytes.
const maxListing = 64 << 20

// A listing is what a tree digest in a receipt stands for, so that a later look can tell which files changed. It lies in
// <state>/listings/<hex of the digest>.json, once for however many receipts name it: a model may have ten thousand files.
type listing struct {
	Files []manifest.File `json:"files"`
	Dirs  []string        `json:"dirs,omitempty"`
}

func (h *Host) listingPath(d manifest.Digest) string {
	return filepath.Join(h.dir, "listings", d.Encoded()+".json")
}

// list returns the tree digest of a model and writes its listing down.
func (h *Host) list(files []manifest.File, dirs []string) (manifest.Digest, error) {
	d := manifest.TreeDigest(files, dirs)
	path := h.listingPath(d)
	if _, err := os.Lstat(path); err == nil {
		return d, nil
	}
	raw, err := json.Marshal(listing{files, dirs})
	if err != nil {
		return d, err
	}
	return d, writeWhole(path, raw)
}

// listed reads the listing of a tree digest. It fails with an error that is fs.ErrNotExist when there is none, or one that
// is not what the digest says.
func (h *Host) listed(d manifest.Digest) (l listing, err error) {
	if err := manifest.CheckDigest(d); err != nil {
		return l, errors.Join(fs.ErrNotExist, err)
	}
	f, err := os.Open(h.listingPath(d))
	if err != nil {
		return l, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxListing)).Decode(&l); err != nil || manifest.TreeDigest(l.Files, l.Dirs) != d {
		return listing{}, errors.Join(fs.ErrNotExist, err)
	}
	return l, nil
}
