//go:build linux

package loader

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"io"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// Docker checks that a layer unpacks to its diffID; podman believes the configuration. For podman we check it ourselves.

// copyLayer has copy read r, and sees at the same time that r, once decompressed, is diffID. It fails with KindIntegrity
// when it is not.
func copyLayer(r io.Reader, diffID manifest.Digest, copy func(io.Reader) error) error {
	pr, pw := io.Pipe()
	unpacked := make(chan error, 1)
	go func() {
		err := checkDiffID(pr, diffID)
		_, _ = io.Copy(io.Discard, pr) // so that the copying never waits for a reader that has gone
		unpacked <- err
	}()
	err := copy(io.TeeReader(r, pw))
	pw.CloseWithError(err) // nil is the plain end
	if e := <-unpacked; err == nil {
		err = e
	}
	return err
}

func checkDiffID(r io.Reader, diffID manifest.Digest) error {
	raw, err := decompress(r)
	if err != nil {
		return inflateFailure(diffID, err)
	}
	defer raw.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, raw); err != nil {
		return inflateFailure(diffID, err)
	}
	if got := digest.NewDigest(digest.SHA256, sum); got != diffID {
		return manifest.Fail(manifest.KindIntegrity, "load", "a layer is not what the image's configuration says: expected diffID %s, got %s", diffID, got)
	}
	return nil
}

// decompress reads gzip or zstd by its first bytes, and everything else as it is.
func decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, copyBuffer)
	magic, _ := b.Peek(4) // an error comes again when b is read
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		return gzip.NewReader(b)
	case bytes.Equal(magic, zstdMagic):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(b), nil
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)
