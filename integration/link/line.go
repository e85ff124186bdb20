package link

import (
	"sync"
	"time"
)

// A line is one direction of a link: a serialiser with a rate and a queue in front of it. What has passed it arrives
// after the delay. It computes times and moves no bytes.
type line struct {
	rate  int64         // bits per second; 0 means no limit
	delay time.Duration // from the end of sending to arrival
	queue int64         // bytes that may wait to be sent; 0 means no limit

	mu   sync.Mutex
	free time.Time // when the last byte accepted so far will have been sent
}

func newLine(rate int64, rtt time.Duration, queue int64) *line {
	l := &line{rate: rate, delay: rtt / 2, queue: queue}
	if l.queue == 0 {
		l.queue = max(64<<10, rate/8*int64(rtt)/int64(time.Second)) // the rule of thumb: one bandwidth-delay product
	}
	return l
}

// offer puts n bytes into the queue at the time now. It returns when they arrive at the far end, or how long to wait for
// room in the queue.
func (l *line) offer(now time.Time, n int) (arrive time.Time, full time.Duration) {
	if l.rate == 0 {
		return now.Add(l.delay), 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free.Before(now) {
		l.free = now
	}
	if room := l.time(l.queue); l.free.Sub(now) > room {
		return time.Time{}, l.free.Sub(now) - room
	}
	l.free = l.free.Add(l.time(int64(n)))
	return l.free.Add(l.delay), 0
}

// last returns when a sender's end, said now, arrives: after everything that is queued.
func (l *line) last(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free.After(now) {
		now = l.free
	}
	return now.Add(l.delay)
}

// time is how long n bytes take to be sent.
func (l *line) time(n int64) time.Duration {
	return time.Duration(float64(n) * 8 / float64(l.rate) * float64(time.Second))
}
