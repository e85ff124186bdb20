package bundle

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// The grammar of a bundle's tar. Whatever differs is refused, with KindMalformed; what is cut short or damaged with
// KindIntegrity.
//
//	tar       = oci-layout index.json [index.json.sig] [manifest.json] blob* end
//	blob      = "blobs/sha256/" and 64 hexadecimal digits in lower case; each name once
//	entry     = header, contents, zeros up to a whole block
//	header    = ustar; a regular file; permissions only; no link, prefix or device; see tarheader.go
//	size      = octal, or in base 256 from 8 GiB on
//	end       = two blocks of zeros, then zeros only, at most maxTail
//
// So there are no folders, no links, no devices, no sparse files, no extended headers, and no names but these.

// maxEntries is the most entries a tar may have: several models of the 40,000 files that a push may have.
const maxEntries = 1 << 18

// maxTail is the most zeros, in bytes, behind the end: tar fills up to records of 10 KiB, some tools to larger ones.
const maxTail = 1 << 20

// maxTar is the most bytes a tar may have.
const maxTar = 1 << 53

// order are the names that come before the blobs, in this order.
var order = []string{layoutFile, indexFile, signatureFile, dockerFile}

// required is how many names of order must be there.
const required = 2

// rank is where in order an entry stands; that of a blob is len(order), that of anything else -1.
func rank(name string) int {
	for n, o := range order {
		if name == o {
			return n
		}
	}
	if _, ok := blobDigest(name); ok {
		return len(order)
	}
	return -1
}

// blobDigest is the digest that the name of a blob's file tells; empty for any other name.
func blobDigest(name string) (manifest.Digest, bool) {
	digits, ok := strings.CutPrefix(name, blobFolder)
	d := digest.NewDigestFromEncoded(digest.SHA256, digits)
	if !ok || manifest.CheckDigest(d) != nil {
		return "", false
	}
	return d, true
}

// key is a digest in its smallest form.
type key [32]byte

// keyOf is for digests that CheckDigest has passed.
func keyOf(d manifest.Digest) (k key) {
	_, _ = hex.Decode(k[:], []byte(d.Encoded())) // 64 hexadecimal digits
	return k
}

func (k key) digest() manifest.Digest {
	return digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(k[:]))
}

// stretch is a tar that is read from front to end.
type stretch interface {
	io.Reader
	// skip passes over n bytes, all of which are there.
	skip(n int64) error
	// left is how many bytes are left; manifest.UnknownSize when only reading on will tell.
	left() int64
}

// A tarWalk reads a tar by the grammar above.
type tarWalk struct {
	in   stretch
	at   int64              // bytes read or passed
	rank int                // of the last entry
	seen map[key]struct{}   // the blobs so far
	part func(int64) string // says in which part a byte is; nil when there is one file only
}

// walk calls visit for every entry: its name, its size, and the offset of its contents, which may be read from content.
func (w *tarWalk) walk(ctx context.Context, visit func(name string, size, offset int64, content io.Reader) error) error {
	w.rank, w.seen = -1, map[key]struct{}{}
	block := make([]byte, tarBlock)
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return stopped(ctx)
		}
		if err := w.fill(block, "it has no end"); err != nil {
			return err
		}
		if isZero(block) {
			return w.end(block)
		}
		if n == 0 {
			if err := checkStart(block); err != nil {
				return err
			}
		}
		h, err := parseHeader(block)
		if err == nil {
			err = w.admit(h, n)
		}
		if n == 0 && manifest.KindOf(err) == manifest.KindMalformed && !bytes.HasPrefix(block, []byte(layoutFile)) {
			err = asFailure(err).Advise("%s", hintOther)
		}
		if err != nil {
			return w.located(err, w.at-tarBlock)
		}
		content := &io.LimitedReader{R: w.in, N: h.size}
		if err := visit(h.name, h.size, w.at, content); err != nil {
			return w.located(err, w.at)
		}
		if err := w.pass(h, content.N); err != nil {
			return err
		}
	}
}

// compressions are how files begin that somebody compressed on the way, and the command that undoes it.
var compressions = map[string]string{"\x1f\x8b": "gzip", "\x28\xb5\x2f\xfd": "zstd", "\xfd7zXZ\x00": "xz", "BZh": "bzip2"}

func checkStart(block []byte) error {
	for magic, by := range compressions {
		if bytes.HasPrefix(block, []byte(magic)) {
			return malformed("it is compressed with %s", by).Advise("undo that: %s -d FILE", by)
		}
	}
	return nil
}

// admit decides whether an entry may stand where it stands.
func (w *tarWalk) admit(h tarHeader, n int) error {
	r := rank(h.name)
	var k key
	if d, ok := blobDigest(h.name); ok {
		k = keyOf(d)
	}
	_, twice := w.seen[k]
	switch {
	case n >= maxEntries:
		return malformed("it has more than %d entries", maxEntries)
	case r < 0:
		return malformed("it has an entry named %.200q, which no bundle has", h.name)
	case r == w.rank && r < len(order), r == len(order) && twice:
		return malformed("it has two entries named %s", h.name)
	case r < w.rank, w.rank < required-1 && r != w.rank+1:
		return malformed("%s stands where it does not belong: first comes %s", h.name, strings.Join(order[:required], ", then "))
	case h.size > maxTar-w.at:
		return malformed("it is larger than any disk")
	case w.in.left() != manifest.UnknownSize && h.size > w.in.left():
		return cut("%s has %d bytes, of which %d are there", h.name, h.size, w.in.left())
	}
	if w.rank = r; r == len(order) {
		w.seen[k] = struct{}{}
	}
	return nil
}

// pass goes to the next header: over what is left of the contents, and over the zeros behind them.
func (w *tarWalk) pass(h tarHeader, left int64) error {
	if err := w.in.skip(left); err != nil {
		return w.broken(err, h.name+" is cut short")
	}
	w.at += h.size
	fill := make([]byte, -h.size&(tarBlock-1))
	if err := w.fill(fill, "it has no end"); err != nil {
		return err
	}
	if !isZero(fill) {
		return w.located(malformed("something is hidden behind %s", h.name), w.at-int64(len(fill)))
	}
	return nil
}

// end reads from behind the first block of zeros on.
func (w *tarWalk) end(block []byte) error {
	if w.rank < required-1 {
		return malformed("it has no %s", order[w.rank+1])
	}
	if err := w.fill(block, "it has no end"); err != nil {
		return err
	}
	if !isZero(block) {
		return w.located(malformed("something stands behind its end"), w.at-tarBlock)
	}
	for tail := 0; ; {
		n, err := io.ReadFull(w.in, block)
		if tail += n; !isZero(block[:n]) || tail > maxTail {
			return w.located(malformed("something stands behind its end"), w.at)
		}
		w.at += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return w.broken(err, "")
		}
	}
}

// fill reads all of p. When the tar ends before, it is cut, and short says what that means.
func (w *tarWalk) fill(p []byte, short string) error {
	n, err := io.ReadFull(w.in, p)
	w.at += int64(n)
	return w.broken(err, short)
}

func (w *tarWalk) broken(err error, short string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return cut("%s; the file ends after %d bytes", short, w.at)
	}
	return w.located(unreadable(err), w.at)
}

// located says of a failure where in the file it is.
func (w *tarWalk) located(err error, at int64) error {
	var f *manifest.Failure
	if !errors.As(err, &f) || f.Kind != manifest.KindMalformed && f.Kind != manifest.KindIntegrity {
		return err
	}
	where := ""
	if w.part != nil && w.part(at) != "" {
		where = " of " + w.part(at)
	}
	g := manifest.Fail(f.Kind, f.Step, "%w (at byte %d%s)", f.Err, at, where)
	g.Hint = f.Hint
	return g
}
