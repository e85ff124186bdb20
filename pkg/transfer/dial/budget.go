package dial

import (
	"sync"
	"time"
)

// A budget ends an attempt when its time is used up. Time in which a person is asked something does not count.
type budget struct {
	end func()

	mu     sync.Mutex
	timer  *time.Timer
	left   time.Duration
	since  time.Time
	paused int
	spent  bool
}

// newBudget calls end, in a goroutine of its own, once d is used up and unless stopped before.
func newBudget(d time.Duration, end func()) *budget {
	b := &budget{end: end, left: d}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.start()
	return b
}

func (b *budget) start() {
	b.since = time.Now()
	b.timer = time.AfterFunc(b.left, func() {
		b.mu.Lock()
		b.spent = true
		b.mu.Unlock()
		b.end()
	})
}

// pause runs f while the time stands still.
func (b *budget) pause(f func()) {
	b.mu.Lock()
	if b.paused++; b.paused == 1 && b.timer.Stop() {
		b.left -= time.Since(b.since)
	}
	b.mu.Unlock()
	f()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paused--; b.paused == 0 && !b.spent {
		b.left = max(b.left, time.Second)
		b.start()
	}
}

// stop ends the budget and reports whether its time was used up before.
func (b *budget) stop() (spent bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer.Stop()
	b.paused++ // a pause that is still open does not start the time again
	return b.spent
}
