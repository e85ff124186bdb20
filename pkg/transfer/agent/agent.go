//go:build linux

// Package agent is the host's end of a push: it speaks package wire on its standard input and output and lets package
// loader do the work. It places nothing itself and knows nothing of SSH. Read Serve first.
package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clara-push/clara-push/pkg/loader"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// Silence is how long an agent waits for a sign of life from its client before it gives up.
const Silence = 30 * time.Second

// Options say who the agent is.
type Options struct {
	Version string // of this clara-push
}

// Serve greets, then answers requests until its input ends, its client falls silent or it is told to end. Once an apply
// is past its commit point, Serve returns only when that is finished.
func Serve(ctx context.Context, in, out *os.File, o Options) error {
	signal.Ignore(syscall.SIGPIPE) // a client that is gone must not end an apply past its commit point
	widen(in)
	if _, err := out.WriteString(wire.Greeting()); err != nil {
		return err
	}
	m, _, err := wire.Read(in, nil)
	if err != nil {
		return ended(err)
	}
	switch {
	case m.Type == wire.TJoin && m.Hello != nil:
		return join(in, out, m.Hello)
	case m.Type == wire.THello && m.Hello != nil:
		ctx, end := signal.NotifyContext(ctx, syscall.SIGTERM)
		defer end()
		s := &session{options: o, hello: *m.Hello, out: wire.NewWriter(out), helloID: m.ID}
		return s.serve(ctx, in)
	}
	return manifest.Fail(manifest.KindUsage, "agent", "the client began with %.20q", string(m.Type))
}

// widen lets sshd put as much into our input as it will, instead of waking us for every two of its packets: that took a third more
// processor time and a fifth more time. Where the input is no pipe nothing happens.
func widen(in *os.File) {
	if c, err := in.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
}

// pipeSize is what Linux lets any user have, in bytes.
const pipeSize = 1 << 20

// ended makes the ordinary end of a stream no error.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// session is one client's control channel.
type session struct {
	options Options
	hello   wire.Hello
	helloID uint64
	out     *wire.Writer

	host   *loader.Host
	hangUp func() // ends the listening for data channels; nil before
	lock   *loader.Lock
	alive  atomic.Int64 // when a frame came last, in Unix nanoseconds
	work   sync.WaitGroup

	mu        sync.Mutex
	run       *run // the apply that is under way
	committed bool
	gone      error // why the session ends; nil as long as it does not
}

// serve reads requests until the stream ends. Whatever is under way then is cancelled, unless it is past its commit point.
func (s *session) serve(ctx context.Context, in *os.File) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.touch()
	ready := make(chan struct{})
	s.work.Go(func() {
		defer close(ready)
		if err := s.welcome(ctx); err != nil {
			s.fail(s.helloID, err)
		}
	})
	requests := make(chan error, 1)
	go func() { requests <- s.requests(ctx, in, ready) }()
	err := s.watch(ctx, requests)
	s.stop(cancel, err)
	s.work.Wait()
	s.close()
	return ended(err)
}

func (s *session) touch() { s.alive.Store(time.Now().UnixNano()) }

// lively takes every byte for a sign of life: on a thin line one frame may take longer than Silence, and nothing comes
// past it.
type lively struct {
	io.Reader
	touch func()
}

func (l lively) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if n > 0 {
		l.touch()
	}
	return n, err
}

// watch waits for the end of the requests, for silence, or for the order to end.
func (s *session) watch(ctx context.Context, requests <-chan error) error {
	tick := time.NewTicker(Silence / 10)
	defer tick.Stop()
	for {
		select {
		case err := <-requests:
			return err
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if time.Since(time.Unix(0, s.alive.Load())) > Silence {
				return manifest.Fail(manifest.KindConnect, "agent", "no sign of life from the client for %s", Silence)
			}
		}
	}
}

// stop cancels the session's work unless an apply is past its commit point.
func (s *session) stop(cancel context.CancelFunc, why error) {
	if manifest.KindOf(why) != manifest.KindConnect {
		why = manifest.Fail(manifest.KindConnect, "agent", "the agent was told to end")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = why
	if s.run != nil && !s.committed {
		s.run.feed.abort(manifest.Fail(manifest.KindInterrupted, "agent", "the client is gone"))
		s.run.cancel()
	}
	if !s.committed {
		cancel()
	}
}

func (s *session) close() {
	if s.hangUp != nil {
		s.hangUp()
	}
	if s.lock != nil {
		s.lock.Release()
	}
	if s.host != nil {
		s.host.Close()
	}
}

// requests reads one message after the other. Everything but the hello waits until that is answered.
func (s *session) requests(ctx context.Context, in io.Reader, ready <-chan struct{}) error {
	in = lively{in, s.touch}
	buf := make([]byte, 0, wire.MaxBody)
	for {
		m, body, err := wire.Read(in, buf)
		if err != nil {
			return err
		}
		if m.Type == wire.TPing {
			s.send(wire.Message{Type: wire.TPong, ID: m.ID})
			continue
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		if s.host == nil {
			s.fail(m.ID, manifest.Fail(manifest.KindUsage, "agent", "there was no valid hello"))
			continue
		}
		if m.Type == wire.TPut && m.Put != nil {
			buf, err = s.put(s.out, m, body)
		} else {
			err = s.handle(ctx, m)
		}
		if err != nil {
			s.fail(m.ID, err)
		}
	}
}

// handle answers quick requests at once and starts the others.
func (s *session) handle(ctx context.Context, m wire.Message) error {
	switch {
	case m.Type == wire.TInventory && m.Query != nil:
		s.work.Go(func() { s.inventory(ctx, m) })
	case m.Type == wire.TSweep && m.Sweep != nil:
		s.work.Go(func() { s.sweep(ctx, m) })
	case m.Type == wire.TStatus:
		s.work.Go(func() { s.status(ctx, m) })
	case m.Type == wire.TRollback && m.Selection != nil:
		s.work.Go(func() { s.change(ctx, m, s.host.Rollback) })
	case m.Type == wire.TRemove && m.Selection != nil:
		s.work.Go(func() { s.change(ctx, m, s.host.Remove) })
	case m.Type == wire.TApply && m.Plan != nil:
		return s.apply(m)
	case m.Type == wire.TBlob && m.Blob != nil:
		return s.announce(*m.Blob)
	case m.Type == wire.TEnd && m.Blob != nil:
		return s.endImage(m.Blob.Image)
	case m.Type == wire.TAbort:
		s.abortRun()
		return nil
	default:
		return manifest.Fail(manifest.KindUsage, "agent", "unknown or empty request %.20q", string(m.Type))
	}
	return nil
}

func (s *session) send(m wire.Message) {
	// An error here means that the client is gone, which the reading side notices.
	_, _ = s.out.Send(m, nil)
}

// fail answers request id with err. What was cancelled because the session ends failed for the reason of that: a client
// that was only asleep, and reads this when it wakes, shall connect again.
func (s *session) fail(id uint64, err error) { s.failAfter(id, err, manifest.Receipt{}) }

// failAfter is fail for what had done something already: done tells what.
func (s *session) failAfter(id uint64, err error, done manifest.Receipt) {
	s.mu.Lock()
	if k := manifest.KindOf(err); s.gone != nil && (k == manifest.KindInternal || k == manifest.KindInterrupted) {
		err = s.gone
	}
	s.mu.Unlock()
	m := wire.Message{Type: wire.TFailure, ID: id, Failure: wire.Pack(err)}
	if len(done.Images)+len(done.Models) > 0 {
		m.Receipt = &done
	}
	s.send(m)
}

func (s *session) events(id uint64) manifest.Events {
	return func(e manifest.Event) { s.send(wire.Message{Type: wire.TEvent, ID: id, Event: &e}) }
}
