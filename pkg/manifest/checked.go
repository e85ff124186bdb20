package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Checked is a BlobReader that checks what it reads. Short, long and wrong are failures of KindIntegrity; wrong can only be
// seen when it reads from the start.
type Checked struct {
	from   io.Reader
	close  func() error
	digest Digest
	size   int64
	at     int64
	hash   hash.Hash // nil when reading began elsewhere
	wrong  func()    // nil when nobody is to be told
	err    error
}

// NewChecked reads the blob d, whose size must be known, from a reader that stands at offset. It closes that reader.
func NewChecked(from io.ReadCloser, d Descriptor, offset int64) *Checked {
	r := &Checked{from: from, close: from.Close, digest: d.Digest, size: d.Size, at: offset}
	if offset == 0 {
		r.hash = sha256.New()
	}
	return r
}

// OnWrong has f called, once, when the bytes are not what they should be. It must be set before the first Read.
func (r *Checked) OnWrong(f func()) { r.wrong = f }

// Unhashed leaves the digest to whoever reads, so that nothing is hashed twice; short and long are still found.
func (r *Checked) Unhashed() { r.hash = nil }

// Size returns the size of the whole blob in bytes.
func (r *Checked) Size() int64 { return r.size }

// Close closes the underlying reader. It may be called twice.
func (r *Checked) Close() error {
	if r.close == nil {
		return nil
	}
	closing := r.close
	r.close = nil
	return closing()
}

// Read withholds the last bytes of a blob that is wrong, so that nobody has all of it without the failure.
func (r *Checked) Read(p []byte) (int, error) {
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
func (r *Checked) right() bool {
	if r.hash == nil {
		return true
	}
	got := Digest("sha256:" + hex.EncodeToString(r.hash.Sum(nil)))
	return got == r.digest
}

func (r *Checked) fail(why error) error {
	if r.wrong != nil {
		r.wrong()
	}
	return Fail(KindIntegrity, "read blob", "%s: %w", r.digest, why)
}
