//go:build linux

package loader

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Dir is the host's state folder.
func (h *Host) Dir() string { return h.dir }

// Put keeps one chunk of the blob d in the stage, and its body; what it returns is a buffer in its place, or nil.
func (h *Host) Put(d manifest.Digest, c Chunk) (spare []byte, err error) { return h.stage.Put(d, c) }

// OpenStaged reads a blob from the stage, waiting for chunks that have not arrived.
func (h *Host) OpenStaged(ctx context.Context, d manifest.Descriptor) (io.ReadCloser, error) {
	return h.stage.Open(ctx, d)
}

// Drop removes the blob d from the stage.
func (h *Host) Drop(d manifest.Digest) error { return h.stage.Drop(d) }

// KeepStaged is how long what a push that failed has staged is kept when nobody comes back for it.
const KeepStaged = 7 * 24 * time.Hour

// Sweep removes staged blobs and files of models that no push holds and nobody touched for age.
func (h *Host) Sweep(ctx context.Context, age time.Duration) (manifest.Swept, error) {
	if err := h.clearLeftovers(); err != nil {
		return manifest.Swept{}, stageFailure("sweep", err)
	}
	swept, err := h.stage.Sweep(ctx, age)
	if err != nil || h.models.usable() != nil {
		return swept, err
	}
	files, err := h.models.stage.sweep(age)
	return manifest.Swept{Blobs: swept.Blobs + files.Blobs, Bytes: swept.Bytes + files.Bytes, Held: swept.Held + files.Held}, err
}

// Held reports whether a live agent of this session holds the lock.
func (h *Host) Held(session string) bool {
	f, err := os.Open(filepath.Join(h.dir, "lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return false
	}
	var o Owner
	return json.NewDecoder(io.LimitReader(f, 4096)).Decode(&o) == nil && o.Session == session
}

// A session's receipt is looked for among so many of the newest: other pushes may have ended since.
const recentReceipts = 100

// ReceiptOf returns the receipt of this session's push or load; nil when it wrote none.
func (h *Host) ReceiptOf(session string) (*manifest.Receipt, error) {
	receipts, err := h.newestReceipts(recentReceipts)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for i := range receipts {
		if receipts[i].Session == session && receipts[i].Act == manifest.ActPush {
			return &receipts[i], nil
		}
	}
	return nil, nil
}
