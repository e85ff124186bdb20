package dial

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// keepAlive says how to find out that a connection is dead.
type keepAlive struct {
	interval   time.Duration
	unanswered int
}

func (k keepAlive) patience() time.Duration { return k.interval * time.Duration(k.unanswered) }

func chooseKeepAlive(o Options, s *settings) keepAlive {
	switch {
	case o.KeepAlive > 0:
		return keepAlive{o.KeepAlive, defaultUnanswered}
	case s.alive > 0:
		return keepAlive{s.alive, max(s.unanswered, 1)}
	}
	return keepAlive{defaultKeepAlive, defaultUnanswered}
}

// A stream notes when something was last received.
type stream struct {
	net.Conn
	born time.Time
	last atomic.Int64 // nanoseconds since born
}

func newStream(c net.Conn) *stream { return &stream{Conn: c, born: time.Now()} }

// Read reads.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 {
		s.last.Store(int64(time.Since(s.born)))
	}
	return n, err
}

func (s *stream) lastRead() time.Time { return s.born.Add(time.Duration(s.last.Load())) }

// watch asks the other side again and again whether it is there, and closes the connection when it is not: a write to
// a dead connection would hang for many minutes. Anything that is received is a sign of life, since an answer can be
// stuck behind seconds of data on a thin line. Each answer is a measurement of the round-trip time.
func (c *Conn) watch(k keepAlive) {
	answers := make(chan time.Duration, 1)
	ask := func() {
		start := time.Now()
		if _, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil); err == nil {
			answers <- time.Since(start)
		} // an error is the end of the connection, which ends the loop below
	}
	tick := time.NewTicker(k.interval)
	defer tick.Stop()
	sent, waiting := time.Now(), true
	first := 4 // in a row: the very first waits until the server has set up the session
	go ask()
	for {
		select {
		case <-c.done:
			return
		case rtt := <-answers:
			c.measured(rtt)
			if first--; first > 0 {
				sent = time.Now()
				go ask()
				continue
			}
			waiting = false
		case <-tick.C:
			if !waiting {
				sent, waiting = time.Now(), true
				go ask()
				continue
			}
			since := sent
			if last := c.stream.lastRead(); last.After(since) {
				since = last
			}
			if time.Since(since) >= k.patience() {
				c.end(fmt.Errorf("nothing came back for %v", time.Since(since).Round(time.Second/10)))
				return
			}
		}
	}
}
