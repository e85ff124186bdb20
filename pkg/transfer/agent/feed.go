//go:build linux

package agent

import (
	"context"
	"io"
	"sync"

	"github.com/clara-push/clara-push/pkg/loader"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// maxAnnounced bounds how many blobs of one image a client may announce.
const maxAnnounced = 4096

// feed hands the loader the blobs of each image in the order in which the client announced them. It implements
// loader.Feed.
type feed struct {
	host *loader.Host

	mu      sync.Mutex
	images  []announced
	changed chan struct{} // closed and replaced at each change
	err     error
}

type announced struct {
	blobs []manifest.Descriptor
	taken int
	ended bool
}

func newFeed(h *loader.Host, images int) *feed {
	return &feed{host: h, images: make([]announced, images), changed: make(chan struct{})}
}

func (f *feed) announce(b wire.Blob) error {
	if err := manifest.CheckDigest(b.Descriptor.Digest); err != nil {
		return err
	}
	return f.change(b.Image, func(a *announced) error {
		if a.ended || len(a.blobs) >= maxAnnounced || b.Descriptor.Size < 0 {
			return manifest.Fail(manifest.KindUsage, "agent", "unexpected blob %s of image %d", b.Descriptor.Digest, b.Image)
		}
		a.blobs = append(a.blobs, b.Descriptor)
		return nil
	})
}

func (f *feed) end(n int) error {
	return f.change(n, func(a *announced) error {
		a.ended = true
		return nil
	})
}

func (f *feed) change(n int, change func(*announced) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n < 0 || n >= len(f.images) {
		return manifest.Fail(manifest.KindUsage, "agent", "the plan has no image number %d", n)
	}
	if err := change(&f.images[n]); err != nil {
		return err
	}
	close(f.changed)
	f.changed = make(chan struct{})
	return nil
}

// abort makes Next fail with err from now on.
func (f *feed) abort(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	close(f.changed)
	f.changed = make(chan struct{})
}

// Next implements loader.Feed.
func (f *feed) Next(ctx context.Context, n int) (manifest.Descriptor, io.ReadCloser, error) {
	for {
		d, found, changed, err := f.take(n)
		if err != nil {
			return manifest.Descriptor{}, nil, err
		}
		if found {
			r, err := f.host.OpenStaged(ctx, d)
			return d, r, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return manifest.Descriptor{}, nil, ctx.Err()
		}
	}
}

func (f *feed) take(n int) (d manifest.Descriptor, found bool, changed <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return d, false, nil, f.err
	}
	a := &f.images[n]
	if a.taken < len(a.blobs) {
		a.taken++
		return a.blobs[a.taken-1], true, nil, nil
	}
	if a.ended {
		return d, false, nil, io.EOF
	}
	return d, false, f.changed, nil
}
