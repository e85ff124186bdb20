package transfer

import (
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// piece is one chunk on its way through the upload: read, then encoded, then sent.
type piece struct {
	put   wire.Put
	raw   []byte // from the pool of raw buffers; nil once encoded smaller
	body  []byte // what is sent: raw, or encoded in a buffer from the other pool
	dense bool   // its blob is compressed already
}

// encoder compresses pieces, one at a time. It keeps one compressor only, that of the level used last: each takes up to
// 9 MB, and the level seldom changes.
type encoder struct {
	pace *pace
	zstd *zstd.Encoder
	made level // what zstd is for
}

var zstdLevels = [levels]zstd.EncoderLevel{levelFastest: zstd.SpeedFastest, levelDefault: zstd.SpeedDefault, levelBetter: zstd.SpeedBetterCompression}

func (e *encoder) at(l level) (*zstd.Encoder, error) {
	if e.made == l {
		return e.zstd, nil
	}
	e.zstd, e.made = nil, levelRaw // free for the collector before the next one is made
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstdLevels[l]), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(int(manifest.ChunkSize)), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, manifest.Fail(manifest.KindInternal, "compress", "%w", err)
	}
	e.zstd, e.made = z, l
	return z, nil
}

// worthwhile is the largest share of a chunk's size at which sending it encoded pays.
const worthwhile = 0.97

// encode fills in p's body, codec and sum. Into is where encoded bytes go; it is returned with p when it was not used.
func (e *encoder) encode(p *piece, into []byte) (unused []byte, err error) {
	l := e.pace.level()
	if p.dense {
		l = levelRaw
	}
	p.put.Codec, p.body = "raw", p.raw
	if l != levelRaw {
		into, err = e.shrink(p, l, into)
	}
	p.put.Sum = xxhash.Sum64(p.body)
	return into, err
}

// shrink replaces p's body by an encoded one when that is smaller.
func (e *encoder) shrink(p *piece, l level, into []byte) (unused []byte, err error) {
	z, err := e.at(l)
	if err != nil {
		return into, err
	}
	began := time.Now()
	out := z.EncodeAll(p.raw, into[:0])
	e.pace.encoded(l, len(p.raw), len(out), time.Since(began))
	if float64(len(out)) > worthwhile*float64(len(p.raw)) {
		return out, nil
	}
	p.put.Codec, p.body = "zstd", out
	return nil, nil
}
