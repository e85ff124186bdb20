package transfer

import (
	"context"
	"runtime"
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
	reading
	target  *SSH
	control *channel
	events  manifest.Events
	pace    *pace
	fleet   *fleet

	pieces chan *piece // read, to be encoded
	ready  chan *piece // encoded, to be sent
	free   chan []byte // buffers; nil for one that was never needed yet

	sizes     map[manifest.Digest]int64 // of the blobs that are in the stage or on their way there
	delivered atomic.Int64              // raw bytes acknowledged, or staged before
	total     atomic.Int64              // raw bytes that the plan needs, as far as known
}

func newUpload(s *SSH, control *channel, p manifest.Plan, src Source, ev manifest.Events) *upload {
	workers := max(1, min(runtime.NumCPU(), 4))
	u := &upload{
		target: s, control: control, events: ev, pace: newPace(workers),
		pieces: make(chan *piece), ready: make(chan *piece, 2),
		free: make(chan []byte, buffers), sizes: map[manifest.Digest]int64{},
	}
	u.reading = reading{plan: p, src: src, buffer: u.freeBuffer, pass: u.queue, newBlob: u.pace.newBlob}
	for range buffers {
		u.free <- nil
	}
	u.fleet = newFleet(u)
	u.pace.near = s.limit == nil && p.Sizes.Send >= longUpload && s.near()
	u.total.Store(p.Sizes.Send + p.Sizes.Staged)
	u.delivered.Store(p.Sizes.Staged)
	return u
}

// longUpload is from how many bytes on it is felt what compressing takes from an engine that shares the processors. Whoever
// pushes less finds the same few bytes on the wire, wherever the host is.
const longUpload = 128 << 20

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
	for _, b := range ip.Needs() {
		if err := u.readBlob(ctx, n, b.Descriptor); err != nil {
			return err
		}
	}
	return nil
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
		if blob, err = openUnhashed(ctx, u.src, d, 0); err != nil {
			return err
		}
		defer blob.Close()
		d.Size = blob.Size()
		u.sizeLearned(d.Size, known, staged)
	}
	u.sizes[d.Digest] = d.Size
	u.newBlob()
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

// queue hands a piece to the encoders.
func (u *upload) queue(ctx context.Context, p *piece) error {
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

// freeBuffer waits for a free buffer and returns it empty.
func (u *upload) freeBuffer(ctx context.Context) ([]byte, error) {
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
