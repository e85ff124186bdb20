package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/moby/moby/client"
)

const contentService = "containerd.services.content.v1.Content"

// Content is the content store of an engine with the containerd store, to be read only. Its blobs are those of all
// images, of other platforms too, and of what the engine has not yet cleared away.
type Content struct {
	rpc     *rpc
	folders []string // where the store's files may lie
}

// openContent returns the engine's content store, or nil when it cannot be read: an engine before 24.0, a proxy in front
// of the socket, or a list that is empty although there are images.
func openContent(ctx context.Context, e *Engine) *Content {
	ways := []func(context.Context) (net.Conn, error){
		func(ctx context.Context) (net.Conn, error) { // until Docker drops it: deprecated since API 1.53
			conn, err := e.dial(ctx)
			if err != nil {
				return nil, err
			}
			up, err := upgrade(ctx, conn, e.base+"/grpc")
			if err != nil {
				conn.Close()
			}
			return up, err
		},
		e.dial, // the socket itself speaks HTTP/2 since 29.2
	}
	for _, dial := range ways {
		c := &Content{rpc: newRPC(contentService, dial), folders: storeFolders(e.about.Root)}
		blobs, err := c.List(ctx)
		if err == nil && (len(blobs) > 0 || e.empty(ctx)) {
			return c
		}
		c.close()
	}
	return nil
}

// empty reports whether the engine has no image at all.
func (e *Engine) empty(ctx context.Context) bool {
	list, err := e.cli.ImageList(ctx, client.ImageListOptions{All: true})
	return err == nil && len(list.Items) == 0
}

func (c *Content) close() {
	if c != nil {
		c.rpc.close()
	}
}

// List returns all blobs with digest and size, and the diffID where the store has unpacked the layer. Media types are not
// known to the store.
func (c *Content) List(ctx context.Context) ([]manifest.Blob, error) {
	s, err := c.rpc.call(ctx, "List", nil)
	if err != nil {
		return nil, c.failed("list content", err)
	}
	defer s.Close()
	var blobs []manifest.Blob
	for {
		msg, err := s.next()
		if err == io.EOF {
			return blobs, nil
		}
		if err == nil {
			blobs, err = parseList(msg, blobs)
		}
		if err != nil {
			return nil, c.failed("list content", err)
		}
	}
}

// digests returns the set of all blobs.
func (c *Content) digests(ctx context.Context) (map[manifest.Digest]bool, error) {
	blobs, err := c.List(ctx)
	have := make(map[manifest.Digest]bool, len(blobs))
	for _, b := range blobs {
		have[b.Digest] = true
	}
	return have, err
}

// Open streams the blob d from offset bytes on. The bytes are not verified, except that a stream that ends before
// d.Size, where that is known, fails with io.ErrUnexpectedEOF; a large blob may be read from the store's own file. It fails with KindNotFound when the blob is not there.
func (c *Content) Open(ctx context.Context, d manifest.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := manifest.CheckDigest(d.Digest); err != nil {
		return nil, err
	}
	if d.Size >= 0 && offset >= d.Size {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	if f := c.file(d, offset); f != nil {
		return f, nil
	}
	s, err := c.rpc.call(ctx, "Read", readRequest(d.Digest, offset))
	if err != nil {
		return nil, c.failed("read blob "+d.Digest.String(), err)
	}
	b := &blob{c: c, s: s, d: d, began: offset, offset: offset}
	if err := b.fill(); err != nil && err != io.EOF { // tells now whether the blob is there
		b.Close()
		return nil, err
	}
	return b, nil
}

// ReadAll reads a small document whole and verifies its digest and, where known, its size. It fails with KindMalformed
// when it has more than limit bytes, KindIntegrity when it is not what d says, KindNotFound when it is not there.
func (c *Content) ReadAll(ctx context.Context, d manifest.Descriptor, limit int64) ([]byte, error) {
	step := "read blob " + d.Digest.String()
	r, err := c.Open(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, c.failed(step, err)
	case int64(len(raw)) > limit:
		return nil, manifest.Fail(manifest.KindMalformed, step, "it has more than %d bytes", limit)
	case d.Size >= 0 && d.Size != int64(len(raw)), d.Digest.Algorithm().FromBytes(raw) != d.Digest:
		return nil, manifest.Fail(manifest.KindIntegrity, step, "the engine's store holds other bytes under this digest")
	}
	return raw, nil
}

func (c *Content) failed(step string, err error) error {
	var status *rpcError
	var failure *manifest.Failure
	switch {
	case ctxEnded(err), errors.As(err, &failure):
		return err
	case errors.As(err, &status) && status.code == grpcNotFound:
		return manifest.Fail(manifest.KindNotFound, step, "the engine's store does not have it: %w", err)
	}
	return manifest.Fail(manifest.KindEngine, step, "%w", err)
}

// blob reads one blob message by message.
type blob struct {
	c      *Content
	s      *stream
	d      manifest.Descriptor
	began  int64  // where reading began
	offset int64  // of what follows rest
	rest   []byte // of the message read last
	err    error
}

func (b *blob) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// fill reads the next message when the former is used up.
func (b *blob) fill() error {
	if b.err != nil {
		return b.err
	}
	msg, err := b.s.next()
	if err == nil {
		var at int64
		at, b.rest, err = parseRead(msg)
		// containerd counts from where reading began, though its API says otherwise.
		if err == nil && at != b.offset-b.began && at != b.offset {
			err = fmt.Errorf("%w: bytes from %d instead of %d", errWire, at, b.offset)
		}
		b.offset += int64(len(b.rest))
	}
	switch {
	case err == io.EOF && b.offset < b.d.Size:
		b.err = io.ErrUnexpectedEOF
	case err == io.EOF || err == nil:
		b.err = err
	default:
		b.err = b.c.failed("read blob "+b.d.Digest.String(), err)
	}
	return b.err
}

func (b *blob) Close() error { return b.s.Close() }
