package bundle

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// unpackedSize is how large l's tar is in bytes, as far as the layer itself tells without being read whole; else 0. It is
// never too much: gzip tells the size modulo 4 GiB, and of the last of its members only.
func unpackedSize(ctx context.Context, src Source, l manifest.Layer) (int64, error) {
	switch {
	case isPlain(l):
		return l.Size, nil
	case isZstd(l.MediaType):
		head, err := readAt(ctx, src, l.Descriptor, 0, min(l.Size, zstd.HeaderMaxSize))
		if err != nil {
			return 0, err
		}
		var h zstd.Header
		if h.Decode(head) == nil && h.HasFCS && !h.Skippable {
			return plausible(int64(min(h.FrameContentSize, maxUnpacked)), l.Size), nil
		}
	case strings.HasSuffix(l.MediaType, "gzip") && l.Size >= 18: // head and tail of the shortest one (RFC 1952)
		tail, err := readAt(ctx, src, l.Descriptor, l.Size-4, 4)
		if err != nil {
			return 0, err
		}
		return plausible(int64(binary.LittleEndian.Uint32(tail)), l.Size), nil
	}
	return 0, nil
}

// plausible is told, unless it is less than what it was compressed to: then it is the size of a part.
func plausible(told, size int64) int64 {
	if told < size-size/100-64 {
		return 0
	}
	return told
}

func readAt(ctx context.Context, src Source, d manifest.Descriptor, offset, n int64) ([]byte, error) {
	r, err := src.Open(ctx, d, offset)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw := make([]byte, n)
	_, err = io.ReadFull(r, raw)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, manifest.Fail(manifest.KindIntegrity, "write bundle", "blob %s is shorter than its %d bytes", d.Digest, d.Size)
	}
	return raw, err
}
