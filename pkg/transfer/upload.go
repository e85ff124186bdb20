package transfer

import (
	"context"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clara-push/clara-push/pkg/loader"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// A chunk owns one buffer from its reading to its acknowledgement, so this is how many are in memory at once: enough for
// every channel to be busy.
const (
	buffers    = 28
	bufferSize = wire.MaxBody
)

// upload brings the missing chunks of one plan to the stage. One goroutine reads blobs in the order in which the host
// loads them, some encode, one a channel sends.
type upload struct {
	target  *SSH
	control *channel
	plan    manifest.Plan
	src     Source
	events  manifest.Events
	pace    *pace
	fleet   *fleet

	pieces chan *piece // read, to be encoded
	ready  chan *piece // encoded, to be sent
	free   chan []byte // buffers; nil for one that was never needed yet

	files     map[manifest.Digest]bool  // files of models, which are staged in a place of their own
	sizes     map[manifest.Digest]int64 // of the blobs that are in the stage or on their way there
	delivered atomic.Int64              // raw bytes acknowledged, or staged before
	total     atomic.Int64              // raw bytes that the plan needs, as far as known
}

func newUpload(s *SSH, control *channel, p manifest.Plan, src Source, ev manifest.Events) *upload {
	workers := max(1, min(runtime.NumCPU(), 4))
	u := &upload{
		target: s, control: control, plan: p, src: src, events: ev, pace: newPace(workers),
		pieces: make(chan *piece), ready: make(chan *piece, 2),
		free: make(chan []byte, buffers), sizes: map[manifest.Digest]int64{}, files: map[manifest.Digest]bool{},
	}
	for _, f := range p.Files {
		u.files[f.Digest] = true
	}
	for range buffers {
		u.free <- nil
	}
	u.fleet = newFleet(u)
	u.pace.near = s.limit == nil && s.near()
	u.total.Store(p.Sizes.Send + p.Sizes.Staged)
	u.delivered.Store(p.Sizes.Staged)
	return u
}

// near reports whether the host is this very machine, reached without a detour: a line that is emulated on it has a round
// trip.
func (s *SSH) near() bool {
	rtt := s.first.RTT()
	return s.welcome.Boot != "" && s.welcome.Boot == loader.Boot() && rtt > 0 && rtt < 10*time.Millisecond
}

// run sends everything and returns when all of it was acknowledged. After an error of any part the others end too.
func (u *upload) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	encoders, ctx2 := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(u.pieces)
		return u.readAll(ctx)
	})
	for range u.pace.encoders {
		encoders.Go(func() error { return u.encode(ctx2) })
	}
	g.Go(func() error {
		defer close(u.ready)
		return encoders.Wait()
	})
	g.Go(func() error { return u.fleet.run(ctx) })
	return g.Wait()
}

// readAll announces and reads the blobs of every image that is to be loaded.
func (u *upload) readAll(ctx context.Context) error {
	for n, ip := range u.plan.Images {
		if ip.Action != manifest.ActionLoad {
			continue
		}
		if err := u.readImage(ctx, n, ip); err != nil {
			return err
		}
		if err := u.control.send(wire.Message{Type: wire.TEnd, Blob: &wire.Blob{Image: n}}, nil); err != nil {
			return err
		}
	}
	return u.readFiles(ctx)
}

func (u *upload) readImage(ctx context.Context, n int, ip manifest.ImagePlan) error {
	seen := map[manifest.Digest]bool{}
	for _, l := range ip.Layers {
		if l.Present || seen[l.Digest] {
			continue
		}
		seen[l.Digest] = true
		if err := u.readBlob(ctx, n, l.Descriptor); err != nil {
			return err
		}
	}
	if err := u.readBlob(ctx, n, ip.Image.Config); err != nil {
		return err
	}
	if ip.Manifest.Digest == "" {
		return nil // the host composes one where its store keeps one
	}
	return u.readBlob(ctx, n, ip.Manifest)
}

// readBlob announces a blob and reads what of it is not staged yet.
func (u *upload) readBlob(ctx context.Context, n int, d manifest.Descriptor) error {
	if size, sent := u.sizes[d.Digest]; sent {
		d.Size = size
		return u.announce(n, d)
	}
	staged, known := u.stagedOf(d.Digest)
	var blob manifest.BlobReader
	if d.Size == manifest.UnknownSize {
		var err error
		if blob, err = u.src.Open(ctx, d, 0); err != nil {
			return err
		}
		defer blob.Close()
		d.Size = blob.Size()
		u.sizeLearned(d.Size, known, staged)
	}
	u.sizes[d.Digest] = d.Size
	u.pace.newBlob()
	if err := u.announce(n, d); err != nil {
		return err
	}
	for _, r := range missing(d.Size, staged) {
		if err := u.readRange(ctx, d, r, blob); err != nil {
			return err
		}
		blob = nil // only the first range can begin where the blob was opened
	}
	return nil
}

func (u *upload) stagedOf(d manifest.Digest) ([]int, manifest.BlobPlan) {
	for _, b := range u.plan.Blobs {
		if b.Digest == d {
			return b.Staged, b
		}
	}
	return nil, manifest.BlobPlan{}
}

// sizeLearned replaces the estimate of a blob's size in the totals by what its source knows now.
func (u *upload) sizeLearned(size int64, b manifest.BlobPlan, staged []int) {
	u.total.Add(size - b.Unpacked)
	for _, i := range staged {
		u.delivered.Add(max(0, manifest.ChunkLen(size, i)) - max(0, manifest.ChunkLen(b.Unpacked, i)))
	}
}

func (u *upload) announce(n int, d manifest.Descriptor) error {
	d.Annotations, d.URLs, d.Data, d.Platform = nil, nil, nil, nil
	return u.control.send(wire.Message{Type: wire.TBlob, Blob: &wire.Blob{Image: n, Descriptor: d}}, nil)
}

// span is a run of chunk numbers, end excluded.
type span struct{ from, to int }

// missing returns the runs of chunks of a blob of size bytes that are not staged. Staged is ascending.
func missing(size int64, staged []int) []span {
	var runs []span
	at := 0
	for _, s := range append(staged[:len(staged):len(staged)], manifest.Chunks(size)) {
		if s > manifest.Chunks(size) {
			continue
		}
		if s > at {
			runs = append(runs, span{at, s})
		}
		at = s + 1
	}
	return runs
}

// readRange reads chunks r of d; from opened when that is at the beginning and r is too.
func (u *upload) readRange(ctx context.Context, d manifest.Descriptor, r span, opened manifest.BlobReader) error {
	blob := opened
	if blob == nil || r.from > 0 {
		var err error
		if blob, err = u.src.Open(ctx, d, int64(r.from)*manifest.ChunkSize); err != nil {
			return err
		}
		defer blob.Close()
	}
	for i := r.from; i < r.to; i++ {
		if err := u.readChunk(ctx, d, i, blob); err != nil {
			return err
		}
	}
	return atEnd(blob, d, r)
}

// atEnd reads past the last byte, because it is there that a reader tells that the blob was not what its digest says.
func atEnd(blob io.Reader, d manifest.Descriptor, r span) error {
	if r.to < manifest.Chunks(d.Size) {
		return nil
	}
	n, err := io.ReadFull(blob, make([]byte, 1))
	if err == io.EOF {
		return nil
	}
	if n > 0 {
		return manifest.Fail(manifest.KindIntegrity, "read", "blob %s is longer than its %d bytes", d.Digest, d.Size)
	}
	return sourceFailure(d, err)
}

func sourceFailure(d manifest.Descriptor, err error) error {
	if manifest.KindOf(err) != manifest.KindInternal {
		return err
	}
	return manifest.Fail(manifest.KindIntegrity, "read", "blob %s: %w", d.Digest, err)
}

func (u *upload) readChunk(ctx context.Context, d manifest.Descriptor, index int, blob io.Reader) error {
	size := manifest.ChunkLen(d.Size, index)
	buf, err := u.buffer(ctx)
	if err != nil {
		return err
	}
	buf = buf[:size]
	if _, err := io.ReadFull(blob, buf); err != nil {
		return sourceFailure(d, err)
	}
	return u.pass(ctx, &piece{body: buf, dense: dense(d.MediaType), put: wire.Put{Digest: d.Digest, Index: index, Raw: size, Model: u.files[d.Digest]}})
}

// dense reports whether a blob of this media type is compressed already.
func dense(mediaType string) bool {
	return strings.HasSuffix(mediaType, "gzip") || strings.HasSuffix(mediaType, "zstd")
}

func (u *upload) pass(ctx context.Context, p *piece) error {
	select {
	case u.pieces <- p:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// encode encodes pieces until there are no more.
func (u *upload) encode(ctx context.Context) error {
	e := &encoder{pace: u.pace}
	for p := range u.pieces {
		if err := e.encode(p); err != nil {
			return err
		}
		select {
		case u.ready <- p:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// done gives p's buffer back and counts it as delivered.
func (u *upload) done(p *piece) {
	u.free <- p.body
	u.events.Sent(u.delivered.Add(p.put.Raw), u.total.Load(), u.target.Wire())
}

// buffer waits for a free buffer and returns it empty.
func (u *upload) buffer(ctx context.Context) ([]byte, error) {
	select {
	case b := <-u.free:
		if b == nil {
			b = make([]byte, bufferSize)
		}
		return b[:0], nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
