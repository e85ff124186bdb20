package transfer

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// reading cuts what a plan needs of its source into chunks and packs and passes them on: to the encoders of an upload, or
// into the stage of this machine. It is for one goroutine.
type reading struct {
	plan    manifest.Plan
	src     Source
	buffer  func(context.Context) ([]byte, error) // an empty one of bufferSize bytes
	pass    func(context.Context, *piece) error
	newBlob func() // another blob begins

	files map[manifest.Digest]bool // of models, which are staged in a place of their own; made when it is first needed
}

// isFile reports whether d is a file of a model of the plan.
func (r *reading) isFile(d manifest.Digest) bool {
	if r.files == nil {
		r.files = map[manifest.Digest]bool{}
		for _, f := range r.plan.Files {
			r.files[f.Digest] = true
		}
	}
	return r.files[d]
}

// span is a run of chunk numbers, end excluded.
type span struct{ from, to int }

// missing returns the runs of chunks of a blob of size bytes that are not staged. Staged is ascending.
func missing(size int64, staged []int) []span {
	var runs []span
	at := 0
	for _, s := range append(staged[:len(staged):len(staged)], manifest.Chunks(size)) {
		if s > manifest.Chunks(size) {
			continue
		}
		if s > at {
			runs = append(runs, span{at, s})
		}
		at = s + 1
	}
	return runs
}

// openUnhashed opens a blob that is to go to the loader, which hashes it, so that is not done here as well; blame does when there is
// reason to.
func openUnhashed(ctx context.Context, src Source, d manifest.Descriptor, offset int64) (manifest.BlobReader, error) {
	blob, err := src.Open(ctx, d, offset)
	if c, ok := blob.(*manifest.Checked); ok {
		c.Unhashed()
	}
	return blob, OfSource(err)
}

// blame finds out whether a blob that the host found damaged is so in the source already. It returns why it is, else err.
func (r *reading) blame(ctx context.Context, err error) error {
	var f *manifest.Failure
	if !errors.As(err, &f) || f.Kind != manifest.KindIntegrity {
		return err
	}
	for _, b := range slices.Concat(r.plan.Blobs, r.plan.Files) {
		if !slices.Contains(f.Absent, b.Digest) {
			continue
		}
		if e := r.readThrough(ctx, b.Descriptor); manifest.KindOf(e) == manifest.KindIntegrity {
			return e
		}
	}
	return err
}

// readThrough reads a blob for nothing but its checks.
func (r *reading) readThrough(ctx context.Context, d manifest.Descriptor) error {
	blob, err := r.src.Open(ctx, d, 0)
	if err != nil {
		return OfSource(err)
	}
	defer blob.Close()
	for err == nil && ctx.Err() == nil {
		_, err = io.CopyN(io.Discard, blob, manifest.ChunkSize)
	}
	return OfSource(err)
}

// readRange reads the chunks run of d; from opened when that is at the beginning and r is too.
func (r *reading) readRange(ctx context.Context, d manifest.Descriptor, run span, opened manifest.BlobReader) error {
	blob := opened
	if blob == nil || run.from > 0 {
		var err error
		if blob, err = openUnhashed(ctx, r.src, d, int64(run.from)*manifest.ChunkSize); err != nil {
			return err
		}
		defer blob.Close()
	}
	for i := run.from; i < run.to; i++ {
		if err := r.readChunk(ctx, d, i, blob); err != nil {
			return err
		}
	}
	return atEnd(blob, d, run)
}

// atEnd reads past the last byte, because it is there that a reader tells that the blob was not what it should be.
func atEnd(blob io.Reader, d manifest.Descriptor, run span) error {
	if run.to < manifest.Chunks(d.Size) {
		return nil
	}
	n, err := io.ReadFull(blob, make([]byte, 1))
	if err == io.EOF {
		return nil
	}
	if n > 0 {
		return OfSource(manifest.Fail(manifest.KindIntegrity, "read", "blob %s is longer than its %d bytes", d.Digest, d.Size))
	}
	return sourceFailure(d, err)
}

func sourceFailure(d manifest.Descriptor, err error) error {
	if manifest.KindOf(err) == manifest.KindInternal {
		err = manifest.Fail(manifest.KindIntegrity, "read", "blob %s: %w", d.Digest, err)
	}
	return OfSource(err)
}

func (r *reading) readChunk(ctx context.Context, d manifest.Descriptor, index int, blob io.Reader) error {
	size := manifest.ChunkLen(d.Size, index)
	buf, err := r.buffer(ctx)
	if err != nil {
		return err
	}
	buf = buf[:size]
	if _, err := io.ReadFull(blob, buf); err != nil {
		return sourceFailure(d, err)
	}
	return r.pass(ctx, &piece{body: buf, dense: dense(d.MediaType), put: wire.Put{Digest: d.Digest, Index: index, Raw: size, Model: r.isFile(d.Digest)}})
}

// dense reports whether a blob of this media type is compressed already.
func dense(mediaType string) bool {
	return strings.HasSuffix(mediaType, "gzip") || strings.HasSuffix(mediaType, "zstd")
}
