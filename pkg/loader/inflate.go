//go:build linux

package loader

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// maxWindow bounds the memory that a zstd stream may ask of us, in bytes. Streams of zstd's plain levels ask for 8 MiB.
const maxWindow = 64 << 20

// inflate undoes the zstd compression of a layer, for an engine that cannot. The tar needs the size before the bytes, so
// the layer goes through a file without a name in dir. It fails with KindIntegrity when the result is not diffID.
func inflate(dir string, r io.Reader, diffID manifest.Digest) (f *os.File, size int64, err error) {
	f, err = os.CreateTemp(dir, "layer-*")
	if err != nil {
		return nil, 0, stageFailure("inflate layer", err)
	}
	_ = os.Remove(f.Name()) // it goes with its last user
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, 0, stageFailure("inflate layer", err)
	}
	defer z.Close()
	sum := sha256.New()
	if size, err = io.Copy(io.MultiWriter(f, sum), z); err != nil {
		return nil, 0, inflateFailure(diffID, err)
	}
	if _, err = io.Copy(io.Discard, r); err != nil { // so that r's own check is reached
		return nil, 0, err
	}
	if got := digest.NewDigest(digest.SHA256, sum); got != diffID {
		return nil, 0, manifest.Fail(manifest.KindIntegrity, "inflate layer", "layer %s is in truth %s", diffID, got)
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, size, err
}

func inflateFailure(diffID manifest.Digest, err error) error {
	var f *manifest.Failure
	var p *os.PathError
	switch {
	case errors.As(err, &f):
		return err
	case errors.As(err, &p):
		return stageFailure("inflate layer", err)
	}
	return manifest.Fail(manifest.KindIntegrity, "inflate layer", "layer %s: %w", diffID, err)
}
