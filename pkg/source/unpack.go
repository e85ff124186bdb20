package source

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/clara-push/clara-push/pkg/cache"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is the largest zstd window that is read: what zstd --long and --ultra -22 write.
const maxWindow = 128 << 20

// layersRoom is the part of the user's cache folder that layers read from engines are in.
const layersRoom = "layers"

// copyBuffer is how many bytes are copied at once.
const copyBuffer = 1 << 20

// openTar opens a tar archive for reading at random. A compressed one is unpacked once into the cache folder and removed
// from there by close.
func openTar(ctx context.Context, name string, spool func() (*cache.Cache, error)) (*tarFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	t, err := indexAny(ctx, f, spool)
	if err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

// indexAny indexes f, or what it unpacks to; in that case f is closed.
func indexAny(ctx context.Context, f *os.File, spool func() (*cache.Cache, error)) (*tarFile, error) {
	packed, err := packing(f)
	if err != nil {
		return nil, err
	}
	if packed == plain {
		return indexTar(f)
	}
	r, err := unpacker(f, packed)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer r.Close()
	c, err := spool()
	if err != nil {
		return nil, err
	}
	return spoolTar(ctx, c, r, "unpack archive")
}

// unpacker reads what f holds in a compressed form.
func unpacker(f io.Reader, packed string) (io.ReadCloser, error) {
	switch packed {
	case gzipd:
		r, err := gzip.NewReader(f)
		if err != nil {
			return nil, malformed("read gzip: %w", err)
		}
		return r, nil
	case zstdd:
		r, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, malformed("read zstd: %w", err)
		}
		return r.IOReadCloser(), nil
	}
	return nil, malformed("the archive is compressed with %s, which is not read here", packed)
}

// spoolTar writes a stream that is a tar into the cache folder and indexes it there.
func spoolTar(ctx context.Context, c *cache.Cache, r io.Reader, step string) (*tarFile, error) {
	f, err := c.Temp()
	if err != nil {
		return nil, err
	}
	t, err := spoolInto(ctx, c, f, r, step)
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	t.remove = true
	return t, nil
}

func spoolInto(ctx context.Context, c *cache.Cache, f *os.File, r io.Reader, step string) (*tarFile, error) {
	buf := make([]byte, copyBuffer)
	for since := int64(0); ; {
		if ctx.Err() != nil {
			return nil, interrupted(ctx)
		}
		// A small archive may unpack to more than any disk has.
		if since -= copyBuffer; since < 0 {
			if err := c.MakeRoom("read image", cache.Reserve); err != nil {
				return nil, err
			}
			since = cache.Reserve
		}
		n, err := r.Read(buf)
		if _, werr := f.Write(buf[:n]); werr != nil {
			return nil, cache.Failure(step, werr)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, malformed("%s: %w", step, err)
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("%s: %w", step, err)
	}
	return indexTar(f)
}
