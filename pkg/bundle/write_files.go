package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// plainFile is a file of a bundle that is no blob.
type plainFile struct {
	name string
	raw  []byte
}

// documents are the files before the blobs, in the order of the format.
func (r *release) documents() ([]plainFile, error) {
	layout, err := composeLayout(r.index)
	if err != nil {
		return nil, err
	}
	all := []plainFile{{layoutFile, layout}, {indexFile, r.index}}
	if len(r.signature) > 0 {
		all = append(all, plainFile{signatureFile, r.signature})
	}
	if len(r.docker) > 0 {
		all = append(all, plainFile{dockerFile, r.docker})
	}
	return all, nil
}

// write writes everything into out, and checks each blob on the way.
func (r *release) write(ctx context.Context, out *output, events manifest.Events) error {
	docs, err := r.documents()
	if err != nil {
		return err
	}
	p := &progress{events: events, step: manifest.StepWrite}
	for _, b := range r.blobs {
		p.total += b.Size
	}
	for _, d := range docs {
		fill := func(w io.Writer) error { _, err := io.Copy(w, bytes.NewReader(d.raw)); return err }
		if err := out.store.put(d.name, manifest.Descriptor{Digest: digest.FromBytes(d.raw), Size: int64(len(d.raw))}, fill); err != nil {
			return writeFailure(out.to, err)
		}
	}
	buf := make([]byte, readBuffer)
	for _, b := range r.blobs {
		fill := func(w io.Writer) error { return b.copy(ctx, w, buf, p) }
		if err := out.store.put(blobPath(b.Digest), b.Descriptor, fill); err != nil {
			return writeFailure(out.to, err)
		}
	}
	return nil
}

// copy writes the blob to w. It fails with KindIntegrity when the source has fewer bytes, more, or others.
func (b blob) copy(ctx context.Context, w io.Writer, buf []byte, p *progress) error {
	r, err := b.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	sum := &counted{hash: sha256.New(), w: w}
	in := io.LimitReader(&watched{ctx: ctx, r: r, tell: p.tell}, b.Size+1)
	if _, err := io.CopyBuffer(&exactly{sum, b.Size}, in, buf); err != nil {
		return err
	}
	if got := sum.digest(); sum.n != b.Size || got != b.Digest {
		if b.wrong != nil {
			b.wrong()
		}
		return manifest.Fail(manifest.KindIntegrity, "write bundle", "blob %s: the source has %d bytes of digest %s, not %d", b.Digest, sum.n, got, b.Size).
			Advise("run the same command again; if that fails too, the source is damaged")
	}
	return nil
}

// exactly refuses to write more than n bytes in all: a tar has no room for them.
type exactly struct {
	w *counted
	n int64
}

func (e *exactly) Write(p []byte) (int, error) {
	if e.w.n+int64(len(p)) > e.n {
		return 0, manifest.Fail(manifest.KindIntegrity, "write bundle", "a blob of %d bytes has more in the source", e.n)
	}
	return e.w.Write(p)
}

// largest is the size in bytes of the largest blob.
func (r *release) largest() int64 {
	var n int64
	for _, b := range r.blobs {
		n = max(n, b.Size)
	}
	return n
}
