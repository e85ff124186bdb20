package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// checkedReader reads a blob of known size and digest. Short, long and wrong are failures of KindIntegrity; wrong can only
// be seen when it reads from the start.
type checkedReader struct {
	from   io.Reader
	close  func() error
	digest manifest.Digest
	size   int64
	at     int64
	hash   hash.Hash // nil when reading began elsewhere
	wrong  func()    // told once when the bytes are not what they should be; may be nil
	err    error
}

// newChecked reads the blob d, whose size must be known, from a reader that stands at offset.
func newChecked(from io.ReadCloser, d manifest.Descriptor, offset int64) *checkedReader {
	r := &checkedReader{from: from, close: from.Close, digest: d.Digest, size: d.Size, at: offset}
	if offset == 0 {
		r.hash = sha256.New()
	}
	return r
}

// Size returns the size of the whole blob in bytes.
func (r *checkedReader) Size() int64 { return r.size }

// Close closes the underlying reader. It may be called twice.
func (r *checkedReader) Close() error {
	if r.close == nil {
		return nil
	}
	closing := r.close
	r.close = nil
	return closing()
}

// Read withholds the last bytes of a blob that is wrong, so that nobody has all of it without the failure.
func (r *checkedReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.from.Read(p)
	if int64(n) > r.size-r.at {
		r.err = r.fail(fmt.Errorf("it has more than %d bytes", r.size))
		return 0, r.err
	}
	r.at += int64(n)
	if r.hash != nil {
		r.hash.Write(p[:n])
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		r.err = err
	case err != nil && r.at < r.size:
		r.err = r.fail(fmt.Errorf("it ends after %d of %d bytes", r.at, r.size))
	case r.at == r.size && !r.right():
		r.err = r.fail(errors.New("its bytes have another digest"))
		n = 0
	default:
		return n, err
	}
	return n, r.err
}

// right compares the digest once all bytes have been seen.
func (r *checkedReader) right() bool {
	if r.hash == nil {
		return true
	}
	got := manifest.Digest("sha256:" + hex.EncodeToString(r.hash.Sum(nil)))
	return got == r.digest
}

func (r *checkedReader) fail(why error) error {
	if r.wrong != nil {
		r.wrong()
	}
	return manifest.Fail(manifest.KindIntegrity, "read blob", "%s: %w", r.digest, why)
}
