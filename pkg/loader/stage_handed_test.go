//go:build linux

package loader

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// TestStageKeepsNoBufferThatItGaveBack has several bring a blob's chunks while it is read, and spoils every buffer as soon as the
// stage has given it back.
func TestStageKeepsNoBufferThatItGaveBack(t *testing.T) {
	raw := make([]byte, 20*manifest.ChunkSize+1)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(raw[:len(raw)/2])
	d := manifest.Descriptor{Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	for name, write := range map[string]func(io.Reader) ([]byte, error){
		"read": func(r io.Reader) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{r}) },
		"written": func(r io.Reader) ([]byte, error) {
			var b bytes.Buffer
			_, err := io.Copy(&b, r)
			return b.Bytes(), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			r, err := s.Open(context.Background(), d)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			indexes := make(chan int)
			for range 3 {
				go bring(t, s, d, raw, indexes)
			}
			go func() {
				defer close(indexes)
				for i := range manifest.Chunks(d.Size) {
					indexes <- i
				}
			}()
			got, err := write(verify(r, d))
			if err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("read %d bytes of %d, %v", len(got), len(raw), err)
			}
		})
	}
}

// bring puts chunks of raw, every other one compressed.
func bring(t *testing.T, s *Stage, d manifest.Descriptor, raw []byte, indexes <-chan int) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Error(err)
	}
	var buf []byte
	for i := range indexes {
		if cap(buf) < maxBody {
			buf = make([]byte, maxBody)
		}
		part := raw[int64(i)*manifest.ChunkSize:][:manifest.ChunkLen(d.Size, i)]
		c := Chunk{Index: i, Codec: CodecRaw, Raw: int64(len(part)), Body: append(buf[:0], part...)}
		if i%2 == 1 {
			c.Codec, c.Body = CodecZstd, z.EncodeAll(part, buf[:0])
		}
		c.Sum = xxhash.Sum64(c.Body)
		if buf, err = s.Put(d.Digest, c); err != nil {
			t.Error(err)
		}
		for n := range buf[:cap(buf)] {
			buf[:cap(buf)][n] = 0xff
		}
	}
}

func TestHandedTakesOnlyWhatIsWantedSoon(t *testing.T) {
	h := &handed{chunks: map[int]Chunk{}}
	own := func(i int) []byte { return slices.Repeat([]byte{byte(i)}, maxBody) }
	if _, ok := h.take(5, nil); ok {
		t.Error("a chunk out of nowhere")
	}
	for i, taken := range map[int]bool{4: false, 5: true, 5 + ahead - 1: true, 5 + ahead: false} {
		if got := h.hand(Chunk{Index: i, Body: own(i)}); (got == nil) != taken {
			t.Errorf("chunk %d: taken %v", i, got == nil)
		}
	}
	if got := h.hand(Chunk{Index: 5, Body: own(55)}); got[0] != 55 {
		t.Error("a chunk was taken twice")
	}
	buf := own(77)
	if c, ok := h.take(5, buf); !ok || c.Body[0] != 5 {
		t.Errorf("chunk 5: %v", ok)
	}
	if got := h.hand(Chunk{Index: 6, Body: own(6)}); got[0] != 77 {
		t.Error("the reader's buffer was not used again")
	}
	if _, ok := h.take(7, nil); ok || len(h.chunks) != 1 || h.chunks[5+ahead-1].Body == nil {
		t.Errorf("chunks that came too late stay: %d", len(h.chunks))
	}
	if got := h.hand(Chunk{Index: 7, Body: own(7)}); got[0] != 6 {
		t.Error("the buffer of a chunk that came too late was not used again")
	}
	var none *handed
	if got := none.hand(Chunk{Body: own(8)}); got[0] != 8 {
		t.Error("without a reader a chunk was taken")
	}
}
