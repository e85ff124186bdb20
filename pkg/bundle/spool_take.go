package bundle

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/clara-push/clara-push/pkg/cache"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// A taking is the reading of one stream into a spool.
type taking struct {
	*spool
	o     OpenOptions
	b     *Bundle
	named *named // nil until the bundle is admitted
	told  *teller
	buf   []byte
}

// take reads the tar to its end, and then what it is.
func (s *spool) take(ctx context.Context, r io.Reader, o OpenOptions) (*Bundle, error) {
	in := newInput(ctx, r)
	defer in.close()
	t := &taking{
		spool: s, o: o, b: &Bundle{path: stream, form: FormStream, in: s},
		told: &teller{ev: o.Events, last: time.Now()}, buf: make([]byte, readBuffer),
	}
	w := &tarWalk{in: flow{bufio.NewReaderSize(in, readBuffer)}}
	err := w.walk(ctx, func(name string, size, _ int64, content io.Reader) error { return t.entry(ctx, name, size, content) })
	if err == nil {
		err = t.begin(ctx) // of a bundle without blobs
	}
	switch {
	case ctx.Err() != nil:
		return nil, stopped(ctx) // whatever that looked like from the stream
	case err != nil:
		return nil, err
	}
	return t.b, t.b.learn(ctx)
}

func (t *taking) entry(ctx context.Context, name string, size int64, content io.Reader) error {
	if rank(name) > rank(signatureFile) {
		if err := t.begin(ctx); err != nil {
			return err
		}
	}
	if d, ok := blobDigest(name); ok {
		t.told.from = content
		return t.keepBlob(ctx, d, size)
	}
	if size > limits[name] {
		return malformed("%s has %s, at most %s are allowed", name, manifest.FormatBytes(size), manifest.FormatBytes(limits[name]))
	}
	_, err := t.keep(ctx, name, size, content)
	return err
}

// begin looks at index.json and its signature, once both have come.
func (t *taking) begin(ctx context.Context) error {
	if t.named != nil {
		return nil
	}
	if err := t.b.begin(ctx, t.o); err != nil {
		return err
	}
	t.named = newNamed(t.b.doc)
	return nil
}

// limits are how large the files may be that are no blobs.
var limits = map[string]int64{layoutFile: maxLayout, indexFile: maxIndex, signatureFile: maxSignature, dockerFile: maxDocument}

// keepBlob writes a blob, which must be named by now and be the one of its name.
func (t *taking) keepBlob(ctx context.Context, d manifest.Digest, size int64) error {
	if err := t.named.check(d, size); err != nil {
		return err
	}
	if free := cache.Free(t.dir); free != manifest.UnknownSize && free-spare < size {
		return manifest.Fail(manifest.KindSpace, stepRead, "the next %s of the bundle have no room in %s, where %s are free and %s must stay so", manifest.FormatBytes(size),
			t.dir, manifest.FormatBytes(free), manifest.FormatBytes(spare)).Advise("free some space there, or copy the bundle to a file and load that, which needs no room for a copy")
	}
	got, err := t.keep(ctx, blobPath(d), size, t.told)
	if err != nil {
		return err
	}
	if got != d {
		return damaged("%s is damaged: its bytes have the digest %s", d, got)
	}
	t.sizes[keyOf(d)] = size
	return t.named.learn(t.spool, d)
}

// keep writes a new file of size bytes and hashes it.
func (t *taking) keep(ctx context.Context, name string, size int64, content io.Reader) (manifest.Digest, error) {
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", t.failure(err)
	}
	defer f.Close()
	h := digest.SHA256.Digester()
	for left := size; left > 0; {
		if ctx.Err() != nil {
			return "", stopped(ctx)
		}
		n, err := content.Read(t.buf[:min(left, int64(len(t.buf)))])
		left -= int64(n)
		_, _ = h.Hash().Write(t.buf[:n]) // never fails
		if _, err := f.Write(t.buf[:n]); err != nil {
			return "", t.failure(err)
		}
		switch {
		case errors.Is(err, io.EOF) && left > 0:
			return "", cut("%s has %d bytes, of which %d have come", name, size, size-left)
		case err != nil && !errors.Is(err, io.EOF):
			return "", unreadable(err)
		}
	}
	if err := f.Close(); err != nil {
		return "", t.failure(err)
	}
	return h.Digest(), nil
}

// flow is a stretch that comes as it is read and cannot be jumped in.
type flow struct{ *bufio.Reader }

func (f flow) skip(n int64) error {
	_, err := io.CopyN(io.Discard, f, n)
	return err
}

func (f flow) left() int64 { return manifest.UnknownSize }

// tellEvery is how often a spool tells how much it has. How much there will be only the end of the stream tells.
const tellEvery = 5 * time.Second

// teller is a reader that tells now and then how much was read.
type teller struct {
	from io.Reader
	ev   manifest.Events
	n    int64
	last time.Time
}

func (t *teller) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	t.n += int64(n)
	if now := time.Now(); now.Sub(t.last) >= tellEvery {
		t.last = now
		t.ev.Say(manifest.StepSpool, "", manifest.FormatBytes(t.n)+" have come")
	}
	return n, err
}
