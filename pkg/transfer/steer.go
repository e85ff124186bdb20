package transfer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// helm is what the steering of a fleet remembers from one measurement to the next.
type helm struct {
	marks    []mark
	before   float64 // rate before ships were added
	added    []*ship // on trial; none when no trial is under way
	settled  bool    // more do not pay
	bbr      bool    // congestion control was changed, or could not be
	stubborn bool    // it could not be
}

// mark is what all ships together had written at one moment.
type mark struct {
	at    time.Time
	bytes int64
	busy  time.Duration
}

// How the fleet is judged, in measurements.
const (
	atRest    = 2 // before anything is changed
	onTrial   = 4 // after ships were added
	lastOnes  = 2 // of these, those that count: a new connection is slow at first
	mustGain  = 1.1
	linkBound = 0.6 // share of the time that channels must spend writing for the link to be what is slow
)

// steer measures every now and then and changes the number of ships, until ctx ends.
func (f *fleet) steer(ctx context.Context) {
	h := &helm{}
	h.restart(f.mark())
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.marks = append(h.marks, f.mark())
			f.adjust(ctx, h)
		case <-ctx.Done():
			return
		}
	}
}

// mark sums up all ships, those that were retired too.
func (f *fleet) mark() mark {
	m := mark{at: time.Now()}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range slices.Concat(f.ships, f.retired) {
		m.bytes += s.channel.flow.bytes.Load()
		m.busy += time.Duration(s.channel.flow.busy.Load())
	}
	return m
}

// restart begins to measure anew.
func (h *helm) restart(m mark) { h.marks = []mark{m} }

// rate is how many bytes per second were written over the last measurements.
func (h *helm) rate(last int) float64 {
	to, from := h.marks[len(h.marks)-1], h.marks[max(0, len(h.marks)-1-last)]
	return float64(to.bytes-from.bytes) / to.at.Sub(from.at).Seconds()
}

// share is the part of the time since the restart that a ship spent writing, on average.
func (h *helm) share(ships int) float64 {
	to, from := h.marks[len(h.marks)-1], h.marks[0]
	return float64(to.busy-from.busy) / float64(to.at.Sub(from.at)) / float64(ships)
}

func (f *fleet) adjust(ctx context.Context, h *helm) {
	ships := f.afloat()
	lossy := slices.ContainsFunc(ships, func(s *ship) bool { return lossy(s.conn.TCP()) })
	if lossy && !h.bbr {
		h.bbr = true
		if h.stubborn = !f.takeBBR(ships); !h.stubborn {
			h.restart(f.mark())
		}
	}
	switch measured := len(h.marks) - 1; {
	case len(h.added) > 0 && measured >= onTrial:
		f.judge(h)
	case len(h.added) > 0 || measured < atRest:
	case h.settled || f.u.target.limit != nil || h.share(len(ships)) < linkBound:
		h.restart(f.mark())
	default:
		if n := f.wanted(h, ships, lossy); n > len(ships) {
			f.grow(ctx, h, n-len(ships))
		}
		h.restart(f.mark())
	}
}

// wanted is how many ships the link could keep busy. A long one takes more than one channel's window. Where packets are
// lost, each connection keeps to a speed of its own, however wide the link is.
func (f *fleet) wanted(h *helm, ships []*ship, lossy bool) int {
	n := len(ships)
	if h.stubborn && lossy {
		return maxShips
	}
	rtt := ships[0].conn.RTT().Seconds()
	if h.rate(atRest)*rtt > 0.5*sshWindow*float64(n) {
		return min(2*n, maxLongFat)
	}
	return n
}

// afloat lists the ships that take chunks.
func (f *fleet) afloat() []*ship {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ships)
}

// takeBBR has all connections use a congestion control that does not take each lost packet for a jam. It reports whether
// the kernel lets us.
func (f *fleet) takeBBR(ships []*ship) bool {
	for _, s := range ships {
		if err := useBBR(s.conn.TCP()); err != nil {
			return false
		}
	}
	f.u.events.Say(manifest.StepSend, "", "the line loses packets: congestion control BBR")
	return true
}

// grow adds ships, on trial.
func (f *fleet) grow(ctx context.Context, h *helm, more int) {
	h.before = h.rate(atRest)
	launched := make(chan *ship, more)
	var g errgroup.Group
	for range more {
		g.Go(func() error { return f.reinforce(ctx, h.bbr && !h.stubborn, launched) })
	}
	h.settled = g.Wait() != nil // a server may allow no more; what there is goes on
	close(launched)
	for s := range launched {
		h.added = append(h.added, s)
	}
	if len(h.added) > 0 {
		f.u.events.Say(manifest.StepSend, "", fmt.Sprintf("trying %d connections", len(f.afloat())))
	}
}

// reinforce makes one more connection and has it take chunks.
func (f *fleet) reinforce(ctx context.Context, bbr bool, launched chan<- *ship) error {
	conn, err := f.u.target.first.Again(ctx)
	if err != nil {
		return err
	}
	s, err := f.launch(ctx, conn, true)
	if err != nil {
		conn.Close()
		return err
	}
	if bbr {
		_ = useBBR(conn.TCP())
	}
	launched <- s
	f.sail(s)
	return nil
}

// judge keeps the ships on trial when they made the whole faster and retires them when not.
func (f *fleet) judge(h *helm) {
	if h.rate(lastOnes) < mustGain*h.before {
		for _, s := range h.added {
			close(s.retired)
			f.u.pace.gone(s.channel)
		}
		f.forget(h.added)
		h.settled = true
	}
	h.added = nil
	h.restart(f.mark())
}

// forget takes ships off the list; what they carry still arrives, and their channels end with the session.
func (f *fleet) forget(gone []*ship) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ships = slices.DeleteFunc(f.ships, func(s *ship) bool { return slices.Contains(gone, s) })
	f.retired = append(f.retired, gone...)
}
