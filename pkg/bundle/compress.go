package bundle

import (
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"

	"github.com/clara-push/clara-push/pkg/manifest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Compression says how layers are stored that the source has uncompressed. Others keep their bytes.
type Compression string

// The compressions. Docker before 23 cannot read zstd.
const (
	Gzip Compression = "" // the default: every engine reads it
	Zstd Compression = "zstd"
	None Compression = "none"
)

// packFormat numbers what our compressors make of the same bytes. It must change whenever their output does, with a new
// version of a library perhaps: TestCompressionIsPinned tells.
const packFormat = "1"

// Each block is compressed on its own processor, with the end of the one before it as dictionary. So what comes out depends
// on the size of the blocks and not on the number of processors.
const (
	gzipBlock = 1 << 20
	gzipLevel = 5 // of programs 1 % larger than by level 6, in 4/5 of the time
	maxBlocks = 8 // in work at once: each takes some 4 MiB
)

// maxWindow is the largest zstd window, in bytes, that is read: what zstd --long and --ultra -22 write.
const maxWindow = 128 << 20

// compressor compresses into w. Its Close ends the stream and leaves w open.
func compressor(w io.Writer, c Compression) (io.WriteCloser, error) {
	if c == Zstd {
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(2), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithLowerEncoderMem(true))
	}
	z, err := pgzip.NewWriterLevel(w, gzipLevel)
	if err != nil {
		return nil, err
	}
	z.ModTime = time.Unix(0, 0) // which gzip takes for no time
	return z, z.SetConcurrency(gzipBlock, min(runtime.GOMAXPROCS(0)+1, maxBlocks))
}

// inflater undoes the compression of a layer of this media type.
func inflater(r io.Reader, mediaType string) (io.ReadCloser, error) {
	if isZstd(mediaType) {
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

func isZstd(mediaType string) bool { return strings.HasSuffix(mediaType, "zstd") }

// isPlain reports whether l is stored as the very tar that its diffID names.
func isPlain(l manifest.Layer) bool { return l.Digest == l.DiffID }

// mediaType is that of a layer which we compressed.
func (c Compression) mediaType() string {
	if c == Zstd {
		return ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.MediaTypeImageLayerGzip
}
