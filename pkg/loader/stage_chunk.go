//go:build linux

package loader

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A Chunk is one piece of a blob on its way: encoded bytes with the sum over them. The sum finds bytes that were spoilt on
// the way or on the disk, chunk by chunk; that the blob is the right one its sha256 proves once it is read whole.
type Chunk struct {
	Index int
	Codec string // "raw" or "zstd"
	Raw   int64  // bytes once decoded
	Sum   uint64 // xxh64 of Body
	Body  []byte
}

// The codecs of a chunk.
const (
	CodecRaw  = "raw"
	CodecZstd = "zstd"
)

// A chunk lies in a file of its own: a header of chunkHeader bytes, then the body as it came.
const (
	chunkMagic  = "cpc1"
	chunkHeader = 24
)

// maxBody is how many bytes a chunk has at most, encoded.
const maxBody = int(manifest.ChunkSize) + 64<<10

var codecByte = map[string]byte{CodecRaw: 'r', CodecZstd: 'z'}

// check reports whether c is well formed and its body has the right sum.
func (c Chunk) check() error {
	switch {
	case codecByte[c.Codec] == 0:
		return fmt.Errorf("chunk %d has an unknown codec %.20q", c.Index, c.Codec)
	case c.Raw <= 0 || c.Raw > manifest.ChunkSize || c.Index < 0:
		return fmt.Errorf("chunk %d claims %d bytes", c.Index, c.Raw)
	case c.Codec == CodecRaw && c.Raw != int64(len(c.Body)):
		return fmt.Errorf("chunk %d has %d bytes and claims %d", c.Index, len(c.Body), c.Raw)
	case xxhash.Sum64(c.Body) != c.Sum:
		return fmt.Errorf("chunk %d is damaged: its sum differs", c.Index)
	}
	return nil
}

// header writes the chunk's file header.
func (c Chunk) header() []byte {
	h := make([]byte, chunkHeader)
	copy(h, chunkMagic)
	h[4] = codecByte[c.Codec]
	binary.BigEndian.PutUint64(h[8:], uint64(c.Raw))
	binary.BigEndian.PutUint64(h[16:], c.Sum)
	return h
}

// readChunk reads and checks the chunk file at path; the body lands in buf when that is large enough.
func readChunk(path string, index int, buf []byte) (Chunk, error) {
	f, err := os.Open(path)
	if err != nil {
		return Chunk{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Chunk{}, err
	}
	size := info.Size() - chunkHeader
	if size < 0 || size > int64(maxBody) {
		return Chunk{}, fmt.Errorf("chunk %d is cut short or too long: %d bytes", index, info.Size())
	}
	var head [chunkHeader]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return Chunk{}, err
	}
	if int64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	c := parseHeader(head, index)
	c.Body = buf[:size]
	if _, err := io.ReadFull(f, c.Body); err != nil {
		return Chunk{}, err
	}
	return c, c.check()
}

func parseHeader(head [chunkHeader]byte, index int) Chunk {
	c := Chunk{Index: index, Raw: int64(binary.BigEndian.Uint64(head[8:])), Sum: binary.BigEndian.Uint64(head[16:])}
	if string(head[:4]) != chunkMagic {
		return c
	}
	for codec, b := range codecByte {
		if b == head[4] {
			c.Codec = codec
		}
	}
	return c
}

// decode returns c's raw bytes, in buf when that is large enough.
func (c Chunk) decode(z *zstd.Decoder, buf []byte) ([]byte, error) {
	if c.Codec == CodecRaw {
		return c.Body, nil
	}
	raw, err := z.DecodeAll(c.Body, buf[:0])
	if err != nil {
		return nil, fmt.Errorf("chunk %d: %w", c.Index, err)
	}
	if int64(len(raw)) != c.Raw {
		return nil, fmt.Errorf("chunk %d has %d bytes decoded and claims %d", c.Index, len(raw), c.Raw)
	}
	return raw, nil
}
