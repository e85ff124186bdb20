package transfer

import (
	"fmt"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// helm is what the steering of a fleet remembers from one measurement to the next.
type helm struct {
	bytes, busy int64 // sums over all ships at the last measurement
	at          time.Time
	rate        float64 // of the last interval
	before      float64 // rate before ships were added; 0 when none are on trial
	added       []*ship // on trial
	trial       int     // intervals since they were added
	settled     bool    // more do not pay
	bbr         bool    // congestion control was changed, or could not be
	stubborn    bool    // it could not
}

// How the fleet judges ships on trial.
const (
	trialIntervals = 4
	mustGain       = 1.1
	linkBound      = 0.6                  // share of the time that channels must spend writing for the link to be what is slow
	farAway        = 3 * time.Millisecond // below this round trip a lost packet is made good at once, and one channel is enough
)

// steer measures every now and then and changes the number of ships, until done.
func (f *fleet) steer(done <-chan struct{}) {
	h := &helm{at: time.Now()}
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.adjust(h)
		case <-done:
			return
		case <-f.ctx.Done():
			return
		}
	}
}

func (f *fleet) adjust(h *helm) {
	ships, busy := f.measure(h)
	rtt := ships[0].conn.RTT()
	if rtt < farAway {
		return
	}
	lossy := f.lossy(ships)
	if lossy && !h.bbr {
		h.bbr = true
		h.stubborn = !f.takeBBR(ships)
		return
	}
	if len(h.added) > 0 {
		f.judge(h)
		return
	}
	if h.settled || busy < linkBound || f.u.target.limit != nil {
		return
	}
	longFat := h.rate*rtt.Seconds() > 0.5*sshWindow*float64(len(ships)) && len(ships) < maxLongFat
	if longFat || (h.stubborn && lossy && len(ships) < maxShips) {
		f.grow(h, len(ships))
	}
}

// measure returns the ships and the share of the last interval in which they were writing.
func (f *fleet) measure(h *helm) ([]*ship, float64) {
	f.mu.Lock()
	ships := append([]*ship(nil), f.ships...)
	f.mu.Unlock()
	var bytes, busy int64
	for _, s := range ships {
		bytes += s.bytes.Load()
		busy += s.busy.Load()
	}
	now := time.Now()
	took := now.Sub(h.at)
	h.rate = float64(bytes-h.bytes) / took.Seconds()
	share := float64(busy-h.busy) / float64(took) / float64(len(ships))
	h.bytes, h.busy, h.at = bytes, busy, now
	return ships, share
}

// lossy reports whether packets were lost on the way.
func (f *fleet) lossy(ships []*ship) bool {
	for _, s := range ships {
		if lost, sent := losses(s.conn.TCP()); lost > 1 && float64(lost) > 1e-4*float64(sent) {
			return true
		}
	}
	return false
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

// grow doubles the number of ships, on trial.
func (f *fleet) grow(h *helm, ships int) {
	h.before, h.trial = h.rate, 0
	for range ships {
		conn, err := f.u.target.first.Again(f.ctx)
		if err != nil {
			h.settled = true // a server may allow no more; what there is goes on
			break
		}
		s, err := f.launch(conn, true)
		if err != nil {
			conn.Close()
			h.settled = true
			break
		}
		if h.bbr && !h.stubborn {
			_ = useBBR(conn.TCP())
		}
		h.added = append(h.added, s)
		f.sail(s)
	}
	if len(h.added) == 0 {
		return
	}
	f.u.events.Say(manifest.StepSend, "", fmt.Sprintf("trying %d connections", ships+len(h.added)))
	f.measure(h)
}

// judge keeps the ships on trial when they made the whole faster and retires them when not.
func (f *fleet) judge(h *helm) {
	h.trial++
	if h.trial < trialIntervals {
		return
	}
	if h.rate < mustGain*h.before {
		for _, s := range h.added {
			close(s.retired)
			f.u.pace.gone(s.channel)
		}
		f.forget(h.added)
		h.settled = true
	}
	h.added = nil
}

// forget takes ships off the list; their goroutines end after the chunk at hand, their channels with the session.
func (f *fleet) forget(gone []*ship) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []*ship
	for _, s := range f.ships {
		stays := true
		for _, g := range gone {
			stays = stays && s != g
		}
		if stays {
			left = append(left, s)
		}
	}
	f.ships, f.retired = left, append(f.retired, gone...)
}
