//go:build linux

package agent

import (
	"context"
	"errors"

	"github.com/clara-push/clara-push/pkg/loader"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// run is one apply under way.
type run struct {
	feed   *feed
	cancel context.CancelFunc
}

// apply starts to carry the plan out. It has a context of its own, because past the commit point it outlives its client.
func (s *session) apply(m wire.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		return manifest.Fail(manifest.KindUsage, "agent", "an apply is under way already")
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{feed: newFeed(s.host, len(m.Plan.Images)), cancel: cancel}
	s.run = r
	s.work.Go(func() {
		defer cancel()
		receipt, err := s.carryOut(ctx, m, r)
		s.mu.Lock()
		s.run, s.committed = nil, false
		s.mu.Unlock()
		if err != nil {
			s.failAfter(m.ID, err, receipt)
			return
		}
		s.send(wire.Message{Type: wire.TReceipt, ID: m.ID, Receipt: &receipt})
	})
	return nil
}

func (s *session) carryOut(ctx context.Context, m wire.Message, r *run) (manifest.Receipt, error) {
	if s.lock == nil {
		lock, err := s.takeLock(ctx, s.host, m.ID)
		if err != nil {
			return manifest.Receipt{}, err
		}
		s.lock = lock
		if err := lock.Stale(); err != nil {
			return manifest.Receipt{}, err
		}
	}
	plan := *m.Plan
	plan.Session, plan.From = s.hello.Session, manifest.Plain(s.hello.From)
	receipt, err := s.host.Apply(ctx, plan, r.feed, func() { s.commit(m.ID) }, s.events(m.ID))
	if err != nil {
		return receipt, err
	}
	if err := s.clear(plan); err != nil {
		receipt.Warnings = append(receipt.Warnings, "the stage was not cleared: "+err.Error())
	}
	_, _ = s.host.Sweep(ctx, loader.KeepStaged) // what others left long ago; theirs to miss, not this push's to fail for
	return receipt, nil
}

// clear drops what the stage has of the plan's images, also of those that did not have to be loaded any more: an earlier
// push may have ended between loading and naming.
func (s *session) clear(p manifest.Plan) error {
	var errs []error
	for _, i := range p.Images {
		errs = append(errs, s.host.Drop(i.Image.Config.Digest), s.host.Drop(i.Image.Manifest.Digest))
		for _, l := range i.Image.Layers {
			errs = append(errs, s.host.Drop(l.Digest))
		}
	}
	return errors.Join(errs...)
}

// commit notes that the apply must be finished from now on, whether or not its client stays.
func (s *session) commit(id uint64) {
	s.mu.Lock()
	s.committed = true
	s.mu.Unlock()
	s.send(wire.Message{Type: wire.TCommit, ID: id})
}

func (s *session) announce(b wire.Blob) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return nil // of an apply that has failed meanwhile; its client has been told
	}
	return s.run.feed.announce(b)
}

func (s *session) endImage(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return nil
	}
	return s.run.feed.end(n)
}

func (s *session) abortRun() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil && !s.committed {
		s.run.feed.abort(manifest.Fail(manifest.KindInterrupted, "agent", "the client gave up"))
		s.run.cancel()
	}
}
