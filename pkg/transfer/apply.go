package transfer

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// Apply implements Target. The upload runs while the agent feeds the engine; whichever fails first ends the other.
func (s *SSH) Apply(ctx context.Context, p manifest.Plan, src Source, ev manifest.Events) (manifest.Receipt, error) {
	control, err := s.ready(ctx)
	if err != nil {
		return manifest.Receipt{}, manifest.On(s.host, err)
	}
	if f := s.welcome.Finished; f != nil && len(f.Images) == len(p.Images) && len(f.Models) == len(p.Models) {
		return *f, nil // an earlier attempt ended well after its connection was lost
	}
	p.Session, p.From = s.session, s.from
	var committed atomic.Bool
	k, err := control.begin(wire.Message{Type: wire.TApply, Plan: &p}, nil, s.interim(ev, func() { committed.Store(true) }))
	if err != nil {
		return manifest.Receipt{}, manifest.On(s.host, s.lostBy(err))
	}
	m, err := s.carry(ctx, control, k, p, src, ev)
	if err != nil {
		err = s.lostBy(err)
		if ctx.Err() != nil && committed.Load() {
			err = manifest.Fail(manifest.KindUnknown, "load", "interrupted after the host had everything: it goes on by itself").
				Advise("run the same command again: it tells how that ended")
		}
		err = manifest.On(s.host, err)
		if committed.Load() && manifest.KindOf(err) == manifest.KindConnect {
			err = pastCommit{err}
		}
		return partOf(m), err
	}
	if m.Receipt == nil {
		return manifest.Receipt{}, s.unexpected(m)
	}
	return *m.Receipt, nil
}

// partOf is what a host had done when it failed.
func partOf(m wire.Message) manifest.Receipt {
	if m.Type != wire.TFailure || m.Receipt == nil {
		return manifest.Receipt{}
	}
	return *m.Receipt
}

// pastCommit is a connection that was lost when the host was past its commit point: what became of the plan is not known
// until the host tells.
type pastCommit struct{ error }

func (p pastCommit) Unwrap() error { return p.error }

// carry uploads and waits for the agent's answer.
func (s *SSH) carry(ctx context.Context, control *channel, k *call, p manifest.Plan, src Source, ev manifest.Events) (wire.Message, error) {
	sending, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	u := newUpload(s, control, p, src, ev)
	uploaded := make(chan error, 1)
	go func() { uploaded <- u.run(sending) }()
	answered := make(chan answer, 1)
	go func() {
		m, err := control.wait(ctx, k)
		answered <- answer{m, err}
	}()
	select {
	case a := <-answered:
		cancel(errAnswered)
		<-uploaded //nolint:errcheck // whatever it says now, the agent's answer counts
		return a.message, u.blame(ctx, a.err)
	case err := <-uploaded:
		if err != nil {
			return wire.Message{}, u.blame(ctx, s.giveUp(ctx, control, err, answered))
		}
		a := <-answered
		return a.message, u.blame(ctx, a.err)
	}
}

// answer is what the agent said to an apply.
type answer struct {
	message wire.Message
	err     error
}

var errAnswered = errors.New("the agent has answered already")

// giveUp ends the agent's apply because the upload failed, and says whose fault was first: an agent that fails stops
// taking chunks, and then its reason counts.
func (s *SSH) giveUp(ctx context.Context, control *channel, failed error, answered <-chan answer) error {
	if control.send(wire.Message{Type: wire.TAbort}, nil) != nil {
		return failed
	}
	select {
	case a := <-answered:
		err := a.err
		if k := manifest.KindOf(err); err != nil && k != manifest.KindInterrupted && k != manifest.KindInternal {
			return err
		}
	case <-ctx.Done():
	}
	return failed
}
