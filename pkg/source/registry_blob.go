package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// maxStalls is how often in a row a download may break off without a single byte in between.
const maxStalls = 5

// open streams a blob from offset on. A download that breaks off or stands still goes on where it was.
func (o *registryOrigin) open(ctx context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error) {
	if err := manifest.CheckDigest(d.Digest); err != nil {
		return nil, err
	}
	if d.Size < 0 {
		return nil, manifest.Fail(manifest.KindInternal, "read blob", "the size of %s is not known", d.Digest)
	}
	if d.Digest == o.root.Digest || manifest.IsIndex(d.MediaType) || manifest.IsManifest(d.MediaType) { // no blobs to a registry
		raw, err := o.read(ctx, d)
		if err != nil {
			return nil, o.failure("read blob", err)
		}
		body := io.NopCloser(bytes.NewReader(raw[min(offset, int64(len(raw))):]))
		return manifest.NewChecked(body, d, offset), nil
	}
	g := &download{o: o, d: d, at: offset}
	g.ctx, g.stop = context.WithCancelCause(ctx)
	for g.body == nil && offset < d.Size { // tells now whether the blob is there
		if err := g.connect(); err == nil {
			break
		} else if err = g.again(err); err != nil {
			g.Close()
			return nil, o.failure("read blob", err)
		}
	}
	return manifest.NewChecked(g, d, offset), nil
}

// download reads a blob over as many requests as it takes.
type download struct {
	o    *registryOrigin
	d    manifest.Descriptor
	at   int64 // where the next byte belongs
	ctx  context.Context
	stop context.CancelCauseFunc

	body   io.ReadCloser // of the present request, nil between two
	req    context.Context
	end    context.CancelCauseFunc
	skip   int64 // bytes of body before at, from a registry that cannot begin in the middle
	stalls int
}

var errStands = errors.New("no byte arrived for too long")

func (g *download) Read(p []byte) (int, error) {
	for g.at < g.d.Size {
		n, err := g.some(p)
		if n > 0 {
			g.stalls = 0
			return n, nil
		}
		if err == nil {
			continue
		}
		if err := g.again(err); err != nil {
			return 0, g.o.failure("read blob", err)
		}
	}
	return 0, io.EOF
}

// some reads what there is, and connects first where that is needed.
func (g *download) some(p []byte) (int, error) {
	if g.body == nil {
		if err := g.connect(); err != nil {
			return 0, err
		}
	}
	if g.skip > 0 {
		n, err := g.watched(p[:min(int64(len(p)), g.skip)])
		g.skip -= int64(n)
		return 0, err
	}
	n, err := g.watched(p)
	g.at += int64(n)
	return n, err
}

// watched reads and gives up when nothing comes.
func (g *download) watched(p []byte) (int, error) {
	end := g.end
	watch := time.AfterFunc(g.o.idle, func() { end(errStands) })
	defer watch.Stop()
	n, err := g.body.Read(p)
	switch {
	case err != nil && errors.Is(context.Cause(g.req), errStands):
		err = errStands
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF // nobody reads on once all bytes were there
	}
	return n, err
}

// again prepares another request after err, or says why there must be none.
func (g *download) again(err error) error {
	g.drop()
	var answer *transport.Error
	var f *manifest.Failure
	if errors.As(err, &f) || (errors.As(err, &answer) && !answer.Temporary()) {
		return err
	}
	if g.ctx.Err() != nil {
		return g.ctx.Err()
	}
	if g.stalls++; g.stalls > maxStalls {
		return fmt.Errorf("%s broke off at %d of %d bytes: %w", g.d.Digest, g.at, g.d.Size, err)
	}
	select {
	case <-time.After(g.o.pause << (g.stalls - 1)):
		return nil
	case <-g.ctx.Done():
		return g.ctx.Err()
	}
}

// connect asks for the rest of the blob.
func (g *download) connect() error {
	ctx, end := context.WithCancelCause(g.ctx)
	h := http.Header{}
	if g.at > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-%d", g.at, g.d.Size-1))
	}
	resp, err := g.o.get(ctx, "/blobs/"+string(g.d.Digest), h)
	if err != nil {
		end(nil)
		return err
	}
	g.body, g.req, g.end = resp.Body, ctx, end
	if err := g.accept(resp); err != nil {
		g.drop()
		return err
	}
	return nil
}

// accept checks that an answer is the part that was asked for.
func (g *download) accept(resp *http.Response) error {
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		return err
	}
	begins := int64(0)
	if resp.StatusCode == http.StatusPartialContent {
		var last int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d", &begins, &last); err != nil || begins != g.at {
			return malformed("the registry sends %.100q instead of the bytes from %d", resp.Header.Get("Content-Range"), g.at)
		}
	}
	if n := resp.ContentLength; n >= 0 && begins+n != g.d.Size {
		return integrity("the registry holds %d bytes of %s, not %d", begins+n, g.d.Digest, g.d.Size)
	}
	g.skip = g.at - begins
	return nil
}

func (g *download) drop() {
	if g.body != nil {
		g.end(nil)
		g.body.Close()
		g.body = nil
	}
}

// Close ends the download. It may be called twice.
func (g *download) Close() error {
	g.drop()
	g.stop(nil)
	return nil
}
