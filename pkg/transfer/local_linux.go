package transfer

import (
	"context"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/clara-push/clara-push/pkg/loader"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// Local is this machine as a target: no SSH and no agent, but the same loader. Images are read by the engine straight from
// the source, files of models are written where they will be placed; nothing is staged twice. It is for one goroutine at
// a time.
type Local struct {
	host    *loader.Host
	options LocalOptions
	session string
	lock    *loader.Lock // from the first apply on: what is taken back later is then what was placed
}

// StateDir makes sure that this machine's state folder is there, dir or where it is as a rule, and returns its path.
func StateDir(dir string) (string, error) { return loader.StateDir(dir) }

// OpenLocal connects to this machine's engine and opens its state folder. It fails with KindPermission when there is no
// engine, or no right to use it or the folder.
func OpenLocal(ctx context.Context, o LocalOptions) (*Local, error) {
	host, err := loader.Open(ctx, loader.Options{
		EngineHost: o.EngineHost, StateDir: o.StateDir, NoEngine: o.NoEngine, AnyEngine: o.AnyEngine, Repository: o.Repository, Tool: o.Version, Look: o.Look,
	})
	if err != nil {
		return nil, err
	}
	return &Local{host: host, options: o, session: newSession()}, nil
}

// Close lets the lock and the engine go. It may be called twice.
func (l *Local) Close() error {
	if l.lock != nil {
		l.lock.Release()
	}
	return l.host.Close()
}

// Platform implements Target.
func (l *Local) Platform() manifest.Platform { return l.host.Platform() }

// Inventory implements Target. What pushes over SSH have staged of images is not told, because it is of no use here.
func (l *Local) Inventory(ctx context.Context, q manifest.Query) (manifest.Inventory, error) {
	inv, err := l.host.Inventory(ctx, q)
	inv.Staged = nil
	return inv, err
}

// Apply implements Target. Cancelling ctx before the commit point leaves everything as it was; after it, ctx counts no more.
func (l *Local) Apply(ctx context.Context, p manifest.Plan, src Source, ev manifest.Events) (manifest.Receipt, error) {
	if err := l.acquire(ctx, ev); err != nil {
		return manifest.Receipt{}, err
	}
	if err := l.stale(); err != nil {
		return manifest.Receipt{}, err
	}
	p.Session, p.From = l.session, whoami()
	c := newLanding(ctx, p, src, ev)
	defer c.end(nil)
	stop := context.AfterFunc(ctx, c.interrupt)
	defer stop()
	staged := make(chan struct{})
	go func() {
		defer close(staged)
		c.stage(l.host)
	}()
	receipt, err := l.host.Apply(c.ctx, p, &localFeed{landing: c, taken: make([]int, len(p.Images))}, c.commit, ev)
	if err != nil {
		err = c.judge(ctx, err)
	}
	c.end(errAnswered)
	<-staged
	if err == nil {
		_, _ = l.host.Sweep(context.WithoutCancel(ctx), loader.KeepStaged) // what others left long ago is not this load's to fail for
	}
	return receipt, err
}

// acquire takes the lock, which is kept until Close.
func (l *Local) acquire(ctx context.Context, ev manifest.Events) (err error) {
	if l.lock == nil {
		l.lock, err = l.host.Lock(ctx, l.owner(), l.options.LockWait, ev)
	}
	return err
}

// stale fails with KindStale, once, when somebody else held the lock before.
func (l *Local) stale() error {
	err := l.lock.Stale()
	l.lock.Waited = false
	return err
}

func (l *Local) owner() loader.Owner { return loader.Owner{From: whoami(), Session: l.session} }

// Status implements Keeper.
func (l *Local) Status(ctx context.Context) (manifest.Status, error) { return l.host.Status(ctx) }

// Rollback implements Keeper.
func (l *Local) Rollback(ctx context.Context, what manifest.Selection) (manifest.Receipt, error) {
	return l.change(ctx, what, l.host.Rollback)
}

// Remove implements Keeper.
func (l *Local) Remove(ctx context.Context, what manifest.Selection) (manifest.Receipt, error) {
	return l.change(ctx, what, l.host.Remove)
}

func (l *Local) change(ctx context.Context, what manifest.Selection, do func(context.Context, manifest.Selection, loader.Owner, manifest.Events) (manifest.Receipt, error)) (manifest.Receipt, error) {
	if err := l.host.Adopt(what); err != nil {
		return manifest.Receipt{}, err
	}
	if err := l.acquire(ctx, l.options.Events); err != nil {
		return manifest.Receipt{}, err
	}
	return do(ctx, what, l.owner(), l.options.Events)
}

// Sweep implements Keeper.
func (l *Local) Sweep(ctx context.Context, age time.Duration) (manifest.Swept, error) {
	return l.host.Sweep(ctx, age)
}

// landing is one plan on its way from a source to this machine.
type landing struct {
	ctx    context.Context // of the work: it outlives its caller past the commit point
	end    context.CancelCauseFunc
	plan   manifest.Plan
	src    Source
	events manifest.Events
	free   chan []byte // buffers for files of models; nil for one that was never needed yet

	mu        sync.Mutex
	committed bool
	done      int64 // bytes that were read
}

func newLanding(ctx context.Context, p manifest.Plan, src Source, ev manifest.Events) *landing {
	c := &landing{plan: p, src: src, events: ev, free: make(chan []byte, 2)}
	c.ctx, c.end = context.WithCancelCause(context.WithoutCancel(ctx))
	c.done = p.Sizes.Staged
	c.free <- nil // a pack that fills,
	c.free <- nil // and a chunk of a large file
	return c
}

// interrupt ends the work unless it is past its commit point.
func (c *landing) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.committed {
		c.end(context.Canceled)
	}
}

func (c *landing) commit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.committed = true
	c.events.Say(manifest.StepLoad, "", "everything was read; the rest is not interrupted any more")
}

// judge says why the work failed: the first reason counts.
func (c *landing) judge(ctx context.Context, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cause := context.Cause(c.ctx); cause != nil {
		return cause
	}
	if ctx.Err() != nil && c.committed {
		return manifest.Fail(manifest.KindUnknown, "load", "interrupted when the engine had everything, and then it failed: %w", err).
			Advise("run the same command again: it tells how that ended")
	}
	return err
}

// stage writes the files of models into the files that will be placed. A failure ends the work.
func (c *landing) stage(host *loader.Host) {
	r := reading{plan: c.plan, src: c.src, buffer: c.buffer, newBlob: func() {}}
	r.pass = func(_ context.Context, p *piece) error {
		chunk := loader.Chunk{Index: p.put.Index, Codec: loader.CodecRaw, Raw: p.put.Raw, Sum: xxhash.Sum64(p.body), Body: p.body}
		if len(p.put.Parts) > 0 {
			return c.kept(p, host.PutPack(p.put.Parts, chunk))
		}
		return c.kept(p, host.PutFile(p.put.Digest, chunk))
	}
	if err := r.readFiles(c.ctx); err != nil {
		c.end(err)
	}
}

func (c *landing) kept(p *piece, err error) error {
	c.free <- p.body
	c.count(p.put.Raw)
	return err
}

func (c *landing) buffer(ctx context.Context) ([]byte, error) {
	select {
	case b := <-c.free:
		if b == nil {
			b = make([]byte, bufferSize)
		}
		return b[:0], nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// count tells how far the reading has come. Nothing is sent over a wire.
func (c *landing) count(n int64) {
	c.mu.Lock()
	c.done += n
	done := c.done
	c.mu.Unlock()
	c.events.Sent(done, c.plan.Sizes.Send+c.plan.Sizes.Staged, 0)
}
