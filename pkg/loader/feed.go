//go:build linux

package loader

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// A Feed yields the blobs of image number n of a plan, each once: the layers that are not present, in any order, then the
// config, then the manifest where the plan names one. Next blocks until a blob comes; it returns io.EOF after the last.
// The descriptor's size is known. Bytes need not be verified: the loader does that while it reads. Next and
// the readers that it returned end when ctx ends.
type Feed interface {
	Next(ctx context.Context, n int) (manifest.Descriptor, io.ReadCloser, error)
}

// verifier reads exactly the blob d and fails with KindIntegrity instead of io.EOF when it is shorter, longer or another.
type verifier struct {
	r    io.Reader
	d    manifest.Descriptor
	hash hash.Hash
	n    int64
}

func verify(r io.Reader, d manifest.Descriptor) *verifier {
	return &verifier{r: r, d: d, hash: sha256.New()}
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	if e := v.saw(p[:n]); e != nil {
		return 0, e
	}
	if err == io.EOF {
		err = v.end()
	}
	return n, err
}

// WriteTo spares a copy of every byte when r can write, too.
func (v *verifier) WriteTo(w io.Writer) (int64, error) {
	began := v.n
	_, err := io.CopyBuffer(watched{v, w}, v.r, make([]byte, copyBuffer))
	if err == nil {
		if err = v.end(); err == io.EOF {
			err = nil
		}
	}
	return v.n - began, err
}

// watched is where a verifier writes to; what is too much does not get there.
type watched struct {
	v *verifier
	w io.Writer
}

func (w watched) Write(p []byte) (int, error) {
	if err := w.v.saw(p); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

// saw takes note of the next bytes.
func (v *verifier) saw(p []byte) error {
	v.hash.Write(p)
	v.n += int64(len(p))
	if v.n > v.d.Size {
		return v.wrong("has more than %d bytes", v.d.Size)
	}
	return nil
}

// end is io.EOF when what was seen is the blob.
func (v *verifier) end() error {
	if v.n < v.d.Size {
		return v.wrong("is cut short: %d of %d bytes", v.n, v.d.Size)
	}
	if got := digest.NewDigest(digest.SHA256, v.hash); got != v.d.Digest {
		return v.wrong("arrived damaged: its bytes have the digest %s", got)
	}
	return io.EOF
}

// damaged is the cause of a failure: a blob that is not what its digest says. What the stage has of it is of no use.
type damaged struct {
	blob manifest.Digest
	how  string
}

func (d *damaged) Error() string { return fmt.Sprintf("blob %s %s", d.blob, d.how) }

func (v *verifier) wrong(format string, args ...any) error {
	f := manifest.Fail(manifest.KindIntegrity, "load", "%w", &damaged{v.d.Digest, fmt.Sprintf(format, args...)}).
		Advise("push again: it will be sent anew")
	f.Absent = []manifest.Digest{v.d.Digest}
	return f
}
