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
	body  []byte // what is sent, in a buffer of the upload's
	dense bool   // its blob is compressed already
}

// encoder compresses pieces, one at a time. It keeps one compressor only, that of the level used last: each takes up to
// 9 MB, and the level seldom changes.
type encoder struct {
	pace *pace
	zstd *zstd.Encoder
	made level  // what zstd is for
	into []byte // where the next chunk is encoded; it takes the place of the chunk's buffer when that pays
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

// encode fills in p's codec and sum, and encodes its body where that pays.
func (e *encoder) encode(p *piece) error {
	l := e.pace.level()
	if p.dense {
		l = levelRaw
	}
	p.put.Codec = "raw"
	if l != levelRaw {
		if err := e.shrink(p, l); err != nil {
			return err
		}
	}
	p.put.Sum = xxhash.Sum64(p.body)
	return nil
}

// shrink replaces p's body by an encoded one when that is smaller.
func (e *encoder) shrink(p *piece, l level) error {
	z, err := e.at(l)
	if err != nil {
		return err
	}
	if e.into == nil {
		e.into = make([]byte, 0, bufferSize)
	}
	began := time.Now()
	out := z.EncodeAll(p.body, e.into[:0])
	e.pace.encoded(l, len(p.body), len(out), time.Since(began))
	if float64(len(out)) <= worthwhile*float64(len(p.body)) {
		p.put.Codec = "zstd"
		e.into, p.body = p.body, out
	}
	return nil
}
