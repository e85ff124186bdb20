package transfer

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/dial"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// A fleet carries encoded chunks over one or more channels, each on a connection of its own, and finds out how many pay.
// One channel carries at most the SSH window of 2 MiB for each round trip, and one TCP connection slows down at each lost
// packet; but on a thin clean line every further connection costs.
type fleet struct {
	u      *upload
	group  *errgroup.Group
	ctx    context.Context
	landed context.CancelFunc // there is nothing left to carry

	mu      sync.Mutex
	ships   []*ship
	retired []*ship // to be closed at the end
}

// A ship is one channel of the fleet.
type ship struct {
	conn    *dial.Conn
	own     bool // conn was made for this ship
	channel *channel
	slots   chan struct{} // one for each chunk that may wait for its acknowledgement
	retired chan struct{} // closed when the ship shall take no more
}

func newShip(conn *dial.Conn, c *channel, own bool) *ship {
	return &ship{conn: conn, own: own, channel: c, slots: make(chan struct{}, inFlight), retired: make(chan struct{})}
}

const (
	smallUpload  = 1 << 20 // up to here the control channel does: a data channel costs two round trips and a process
	inFlight     = 4       // chunks of one channel that may wait for their acknowledgement
	maxShips     = 8
	maxLongFat   = 4       // more pay only against loss
	sshWindow    = 2 << 20 // OpenSSH's window for one channel
	measureEvery = 500 * time.Millisecond
)

func newFleet(u *upload) *fleet { return &fleet{u: u} }

// run sends until the upload has no more chunks and all are acknowledged.
func (f *fleet) run(ctx context.Context) error {
	f.group, f.ctx = errgroup.WithContext(ctx)
	steering, landed := context.WithCancel(f.ctx)
	defer landed()
	f.landed = landed
	s := f.u.plan.Sizes
	if s.Send <= smallUpload && s.Unknown == 0 {
		f.sail(newShip(f.u.target.first, f.u.control, false))
		return f.group.Wait()
	}
	defer f.scrap()
	f.group.Go(func() error {
		if err := f.launchFirst(steering); err != nil {
			return err
		}
		f.steer(steering)
		return nil
	})
	return f.group.Wait()
}

// launchFirst opens the first data channel, unless everything has landed before. While that takes its round trips, the control
// channel carries chunks.
func (f *fleet) launchFirst(ctx context.Context) error {
	ferry := newShip(f.u.target.first, f.u.control, false)
	f.group.Go(func() error { return f.carry(ferry) })
	defer f.u.pace.gone(ferry.channel)
	defer close(ferry.retired)
	s, err := f.launch(ctx, f.u.target.first, false)
	switch {
	case err == nil:
		f.sail(s)
	case ctx.Err() != nil && f.ctx.Err() == nil:
		return nil
	}
	return err
}

// launch opens a data channel on conn.
func (f *fleet) launch(ctx context.Context, conn *dial.Conn, own bool) (*ship, error) {
	t := f.u.target
	h := wire.Hello{Session: t.session, StateDir: t.options.StateDir}
	c, err := t.start.data(ctx, conn, t.limit, &t.wire, h)
	if err != nil {
		return nil, err
	}
	return newShip(conn, c, own), nil
}

// sail lets s take chunks.
func (f *fleet) sail(s *ship) {
	f.mu.Lock()
	f.ships = append(f.ships, s)
	f.mu.Unlock()
	f.group.Go(func() error { return f.carry(s) })
}

// carry sends one chunk after the other. It takes one only when it can be written at once: a chunk that waits for a slow
// ship would be missed by the fast ones.
func (f *fleet) carry(s *ship) error {
	for {
		select {
		case s.slots <- struct{}{}:
		case <-s.retired:
			return nil
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		}
		select {
		case p, more := <-f.u.ready:
			if !more {
				f.landed()
				return nil
			}
			if err := f.deliver(s, p); err != nil {
				return err
			}
		case <-s.retired:
			return nil
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		}
	}
}

// deliver writes one chunk and leaves it to a goroutine to wait for its acknowledgement.
func (f *fleet) deliver(s *ship, p *piece) error {
	began := time.Now()
	k, err := s.channel.begin(wire.Message{Type: wire.TPut, Put: &p.put}, p.body, nil)
	if err != nil {
		return err
	}
	f.u.pace.sent(s.channel, len(p.body), time.Since(began))
	f.group.Go(func() error {
		defer func() { <-s.slots }()
		return f.acknowledged(s, p, k)
	})
	return nil
}

func (f *fleet) acknowledged(s *ship, p *piece, k *call) error {
	m, err := s.channel.wait(f.ctx, k)
	if err != nil {
		return err
	}
	if m.Type != wire.TAck {
		return manifest.Fail(manifest.KindInternal, "send", "unexpected answer %.20q to a chunk", string(m.Type))
	}
	f.u.done(p)
	return nil
}

// scrap closes what the fleet opened.
func (f *fleet) scrap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range append(f.ships, f.retired...) {
		s.channel.Close()
		if s.own {
			s.conn.Close()
		}
	}
}
