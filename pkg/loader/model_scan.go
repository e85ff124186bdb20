//go:build linux

package loader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/google/renameio/v2"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// stamp is what tells a file apart from a later state of it without reading it.
type stamp struct {
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime"` // nanoseconds
	CTime int64  `json:"ctime"`
	Inode uint64 `json:"inode"`
}

func stampOf(info fs.FileInfo) stamp {
	st := info.Sys().(*syscall.Stat_t)
	return stamp{Size: info.Size(), MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano(), Inode: st.Ino}
}

// known is one remembered digest.
type known struct {
	stamp
	Digest manifest.Digest `json:"digest"`
}

// young is how old a file's ctime must be when it is hashed for the digest to be remembered: within this, a further change
// could leave the same times. The mtime does not count: it is what somebody said, and may lie ahead.
const young = 20 * time.Millisecond

// scan describes what bears the name model in the repository. Digests are remembered from one scan to the next.
func (r *repository) scan(ctx context.Context, model string) (manifest.HostModel, error) {
	h := manifest.HostModel{Name: model}
	root := r.live(model, "")
	info, err := os.Lstat(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return h, nil
	case err != nil:
		return h, err
	case info.Mode()&fs.ModeSymlink != 0:
		h.Found = manifest.FoundSymlink
		return h, nil
	case !info.IsDir():
		h.Found = manifest.FoundOther
		return h, nil
	}
	h.Found, h.Newer = manifest.FoundDirectory, info.ModTime()
	noteClosed(&h, ".", info)
	old := r.remembered(model)
	fresh, err := describe(ctx, root, old, &h)
	if err != nil {
		return h, err
	}
	return h, r.remember(model, old, fresh)
}

// unseen types an error of a scan; nil stays nil.
func (r *repository) unseen(model string, err error) error {
	err = modelFailure("look at model "+model, err)
	var f *manifest.Failure
	if errors.As(err, &f) && f.Kind == manifest.KindPermission {
		return f.Advise(manifest.AsRoot+", or let others read it, as Triton must: sudo chmod -R a+rX %s", quoted(r.live(model, "")))
	}
	return err
}

// describe fills in h with the tree at root and returns the digests of its files.
func describe(ctx context.Context, root string, old map[string]known, h *manifest.HostModel) (map[string]known, error) {
	type found struct {
		path string
		info fs.FileInfo
	}
	var files []found
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if info.ModTime().After(h.Newer) {
			h.Newer = info.ModTime()
		}
		noteClosed(h, filepath.ToSlash(rel), info)
		switch {
		case e.IsDir():
			h.Dirs = append(h.Dirs, filepath.ToSlash(rel))
		default:
			files = append(files, found{rel, info})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	h.Files = make([]manifest.File, len(files))
	digests := make([]known, len(files))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, f := range files {
		g.Go(func() error {
			k, err := digestOf(ctx, filepath.Join(root, f.path), f.info, old[f.path])
			digests[i] = k
			h.Files[i] = manifest.File{Path: filepath.ToSlash(f.path), Descriptor: manifest.Descriptor{Digest: k.Digest, Size: f.info.Size()}}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	fresh := map[string]known{}
	for i, f := range files {
		if digests[i].Digest != "" {
			fresh[f.path] = digests[i]
		}
	}
	slices.Sort(h.Dirs)
	slices.SortFunc(h.Files, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	return fresh, nil
}

// maxClosed is how many unreadable paths an inventory names.
const maxClosed = 10

// noteClosed notes an entry that other users may not read.
func noteClosed(h *manifest.HostModel, path string, info fs.FileInfo) {
	need := map[bool]fs.FileMode{true: 0o005, false: 0o004}[info.IsDir()]
	if len(h.Closed) < maxClosed && info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&need != need {
		h.Closed = append(h.Closed, path)
	}
}

// hashBuffers are shared: a model may have ten thousand small files.
var hashBuffers = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}

// digestOf hashes a regular file unless its digest is remembered. Anything else has none, so that no plan takes it over.
func digestOf(ctx context.Context, path string, info fs.FileInfo, old known) (known, error) {
	if !info.Mode().IsRegular() {
		return known{}, nil
	}
	k := known{stamp: stampOf(info)}
	if old.Digest != "" && old.stamp == k.stamp {
		return old, nil
	}
	var err error
	k.Digest, err = hashed(ctx, path)
	return k, err
}

// hashed reads a file and returns its digest.
func hashed(ctx context.Context, path string) (manifest.Digest, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	buf := hashBuffers.Get().(*[]byte)
	defer hashBuffers.Put(buf)
	if _, err := io.CopyBuffer(h, contextReader{ctx, f}, *buf); err != nil {
		return "", err
	}
	return manifest.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))), nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func (r *repository) digestsPath(model string) string {
	return filepath.Join(r.own, "digests", model+".json")
}

// remembered reads the digests of the last scan; none when they cannot be read: then files are hashed again.
func (r *repository) remembered(model string) map[string]known {
	if r.own == "" {
		return nil
	}
	raw, err := os.ReadFile(r.digestsPath(model))
	var m map[string]known
	if err != nil || json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

// remember writes the digests down, if there is a place for them, except of files so young that a change could go unnoticed.
func (r *repository) remember(model string, old, fresh map[string]known) error {
	now := time.Now().UnixNano()
	same := len(old) == len(fresh)
	for p, k := range fresh {
		if now-k.CTime < int64(young) && old[p] != k {
			delete(fresh, p)
		}
		same = same && old[p] == k
	}
	if same || r.own == "" {
		return nil
	}
	return r.writeDigests(model, fresh)
}

func (r *repository) writeDigests(model string, fresh map[string]known) error {
	raw, err := json.Marshal(fresh)
	if err != nil {
		return err
	}
	return renameio.WriteFile(r.digestsPath(model), raw, 0o600)
}
