package source

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/clara-push/clara-push/pkg/cache"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// growing is a blob that is being written into the cache while others read it already. One goroutine writes; any number
// reads. Readers get the last byte only when the whole has been found right.
type growing struct {
	digest manifest.Digest

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something below changes
	file    *os.File
	size    int64 // UnknownSize until the first byte is about to come
	have    int64
	done    bool
	err     error // why it will never be whole
	kept    bool  // the file bears its final name
}

func newGrowing(d manifest.Digest) *growing {
	return &growing{digest: d, size: manifest.UnknownSize, changed: make(chan struct{})}
}

// update changes the state under the lock and wakes all who wait.
func (g *growing) update(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *growing) begin(f *os.File, size int64) {
	g.update(func() { g.file, g.size = f, size })
}

func (g *growing) grow(n int) {
	g.update(func() { g.have += int64(n) })
}

// finish says that the blob is whole and right, or never will be.
func (g *growing) finish(err error) {
	g.update(func() {
		if !g.done {
			g.done, g.err = true, err
		}
	})
}

func (g *growing) isWhole() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.done && g.err == nil
}

// hasBegun reports whether bytes have come, or never will.
func (g *growing) hasBegun() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.size != manifest.UnknownSize || g.done
}

// open waits until the blob has begun, so that its size is known, and reads it from offset on.
func (g *growing) open(ctx context.Context, offset int64) (*growingReader, error) {
	for {
		g.mu.Lock()
		begun, err, changed := g.size != manifest.UnknownSize, g.err, g.changed
		g.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case begun:
			return &growingReader{g: g, ctx: ctx, at: offset}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, interrupted(ctx)
		}
	}
}

// release closes the file when nobody will read it any more. One that could not be renamed while it was open (Windows)
// gets its name now; an incomplete one goes.
func (g *growing) release(c *cache.Cache) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.file == nil {
		return
	}
	name := g.file.Name()
	g.file.Close()
	g.file = nil
	if g.kept {
		return
	}
	if !g.done || g.err != nil || os.Rename(name, c.Path(g.digest)) != nil {
		os.Remove(name)
	}
}

// growingReader is one reader of a growing blob.
type growingReader struct {
	g   *growing
	ctx context.Context
	at  int64
}

// Size returns the size of the whole blob in bytes.
func (r *growingReader) Size() int64 {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	return r.g.size
}

// Close does nothing: the file belongs to the save.
func (r *growingReader) Close() error { return nil }

// Read waits for more when it has caught up with the writer.
func (r *growingReader) Read(p []byte) (int, error) {
	for len(p) > 0 {
		n, changed, err := r.some(p)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			return 0, interrupted(r.ctx)
		}
	}
	return 0, nil
}

// some reads what may be read now; when that is nothing, changed tells when to look again.
func (r *growingReader) some(p []byte) (n int, changed <-chan struct{}, err error) {
	g := r.g
	g.mu.Lock()
	defer g.mu.Unlock() // the file stays open so long
	ready := g.have
	if !g.done {
		ready = min(ready, g.size-1)
	}
	switch {
	case g.err != nil:
		return 0, nil, g.err
	case ready <= r.at && g.done:
		return 0, nil, io.EOF
	case ready <= r.at:
		return 0, g.changed, nil
	case g.file == nil:
		return 0, nil, fmt.Errorf("read %s from cache: %w", g.digest, fs.ErrClosed)
	}
	n, err = g.file.ReadAt(p[:min(int64(len(p)), ready-r.at, copyBuffer)], r.at)
	r.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, nil, err
}
