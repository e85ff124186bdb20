package transfer

import (
	"context"
	"io"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// localFeed hands the loader the blobs of each image straight from the source. It implements loader.Feed.
type localFeed struct {
	*landing
	taken []int // blobs of each image that were handed over
}

// Next implements loader.Feed.
func (f *localFeed) Next(ctx context.Context, n int) (manifest.Descriptor, io.ReadCloser, error) {
	needs := f.plan.Images[n].Needs()
	if f.taken[n] == len(needs) {
		return manifest.Descriptor{}, nil, io.EOF
	}
	d := needs[f.taken[n]].Descriptor
	f.taken[n]++
	blob, err := openUnhashed(ctx, f.src, d, 0)
	if err != nil {
		return d, nil, err
	}
	d.Size = blob.Size()
	return d, &fedBlob{blob, ctx, d, f.count}, nil
}

// fedBlob is a blob on its way into the engine: it ends with its context, its bytes count, and its errors are typed.
type fedBlob struct {
	io.ReadCloser
	ctx   context.Context
	d     manifest.Descriptor
	count func(int64)
}

func (b *fedBlob) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	b.count(int64(n))
	if err != nil && err != io.EOF {
		err = sourceFailure(b.d, err)
	}
	return n, err
}
