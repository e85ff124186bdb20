package transfer

import (
	"context"
	"io"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// A pack holds at most so many bytes and files: enough that a round trip is nothing beside it, little enough that several
// are on their way at once.
const (
	packBytes = 1 << 20
	packFiles = 1024
)

// readFiles reads the files of models that are not staged yet: small ones into packs, larger ones chunk by chunk.
func (r *reading) readFiles(ctx context.Context) error {
	p := &pack{}
	for _, f := range r.plan.Files {
		var err error
		if f.Size <= manifest.SmallFile {
			err = r.readSmall(ctx, f, p)
		} else {
			err = r.readLarge(ctx, f)
		}
		if err != nil {
			return err
		}
	}
	return r.flush(ctx, p)
}

func (r *reading) readLarge(ctx context.Context, f manifest.BlobPlan) error {
	r.newBlob()
	for _, run := range missing(f.Size, f.Staged) {
		if err := r.readRange(ctx, f.Descriptor, run, nil); err != nil {
			return err
		}
	}
	return nil
}

// pack is one being filled.
type pack struct {
	buf   []byte
	parts []manifest.Part
}

func (r *reading) readSmall(ctx context.Context, f manifest.BlobPlan, p *pack) error {
	if len(f.Staged) > 0 {
		return nil
	}
	if len(p.buf)+int(f.Size) > packBytes || len(p.parts) == packFiles {
		if err := r.flush(ctx, p); err != nil {
			return err
		}
	}
	if p.parts == nil {
		buf, err := r.buffer(ctx)
		if err != nil {
			return err
		}
		p.buf = buf
	}
	file, err := r.src.Open(ctx, f.Descriptor, 0)
	if err != nil {
		return OfSource(err)
	}
	defer file.Close()
	at := len(p.buf)
	p.buf = p.buf[:at+int(f.Size)]
	if _, err := io.ReadFull(file, p.buf[at:]); err != nil {
		return sourceFailure(f.Descriptor, err)
	}
	p.parts = append(p.parts, manifest.Part{Digest: f.Digest, Size: f.Size})
	return atEnd(file, f.Descriptor, span{0, manifest.Chunks(f.Size)})
}

// flush sends what p holds. A pack of empty files alone has nothing to send in its body, so it gets one byte.
func (r *reading) flush(ctx context.Context, p *pack) error {
	if p.parts == nil {
		return nil
	}
	raw := int64(len(p.buf))
	if raw == 0 {
		p.buf = append(p.buf, 0)
	}
	piece := &piece{body: p.buf, put: wire.Put{Parts: p.parts, Raw: int64(len(p.buf))}}
	*p = pack{}
	return r.pass(ctx, piece)
}
