package link

import (
	"io"
	"net"
	"sync"
	"time"
)

// A conn is one client's connection and its continuation to the target.
type conn struct {
	gone chan struct{} // closed by reset and close

	mu             sync.Mutex
	ended          bool
	client, target *net.TCPConn // target is nil until it is dialled
}

// attach adds the target's side, unless the connection has ended meanwhile.
func (c *conn) attach(target *net.TCPConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		target.Close()
		return false
	}
	c.target = target
	return true
}

// reset ends both sides at once, with a TCP reset.
func (c *conn) reset() { c.end(true) }

func (c *conn) close() { c.end(false) }

func (c *conn) end(reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	close(c.gone)
	for _, s := range []*net.TCPConn{c.client, c.target} {
		if s != nil && reset {
			_ = s.SetLinger(0)
		}
		if s != nil {
			s.Close()
		}
	}
}

// finish tells the receiver how the sender's side has ended.
func (c *conn) finish(dst *net.TCPConn, end error) {
	if end != io.EOF {
		c.reset()
		return
	}
	_ = dst.CloseWrite() // the receiver may be gone
}

// wait sleeps; it returns false at once when the connection ends.
func (c *conn) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.gone:
		return false
	}
}

// window is how much may wait for a receiver that does not read, as the receive window of its kernel would let it.
const window = 1 << 20

// A parcel is what one read returned, and when it arrives at the far end.
type parcel struct {
	data   []byte
	arrive time.Time
	end    error // why the sender's side has ended: io.EOF, or how it broke; nil before
}

// forward moves bytes of one direction from src over the line to dst. It returns when src ends or the connection does.
func (p *Proxy) forward(c *conn, dir int, src, dst *net.TCPConn) {
	if l := p.lines[dir]; l.rate == 0 && l.delay == 0 {
		p.relay(c, dir, src, dst)
		return
	}
	q := &transit{room: make(chan struct{}, 1), filled: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() { p.deliver(c, q, dst) })
	buf := make([]byte, p.lines[dir].readSize())
	for p.pass(c) {
		n, err := src.Read(buf)
		if n > 0 {
			p.count(dir, n)
			arrive, ok := p.send(c, dir, n)
			if !ok || !q.put(c, parcel{data: append([]byte(nil), buf[:n]...), arrive: arrive}) {
				break
			}
		}
		if err != nil {
			q.put(c, parcel{arrive: p.lines[dir].last(time.Now()), end: err})
			break
		}
	}
	wg.Wait()
}

// relay is forward for a link without limits, which must not cost more than it has to.
func (p *Proxy) relay(c *conn, dir int, src, dst *net.TCPConn) {
	buf := make([]byte, p.lines[dir].readSize())
	for p.pass(c) {
		n, err := src.Read(buf)
		if n > 0 {
			p.count(dir, n)
			if !p.pass(c) {
				return
			}
			if _, werr := dst.Write(buf[:n]); werr != nil {
				c.reset()
				return
			}
		}
		if err != nil {
			c.finish(dst, err)
			return
		}
	}
}

// pass waits until the link is no black hole.
func (p *Proxy) pass(c *conn) bool {
	select {
	case <-p.gate():
		return true
	case <-c.gone:
		return false
	}
}

// send waits for room in the line's queue and returns when the bytes arrive.
func (p *Proxy) send(c *conn, dir, n int) (time.Time, bool) {
	for {
		arrive, full := p.lines[dir].offer(time.Now(), n)
		if full == 0 {
			return arrive, true
		}
		if !c.wait(full) {
			return time.Time{}, false
		}
	}
}

// deliver writes parcels to dst when they arrive.
func (p *Proxy) deliver(c *conn, q *transit, dst *net.TCPConn) {
	for {
		parcel, ok := q.get(c)
		if !ok || !c.wait(time.Until(parcel.arrive)) || !p.pass(c) {
			return
		}
		if parcel.end != nil {
			c.finish(dst, parcel.end)
			return
		}
		if _, err := dst.Write(parcel.data); err != nil {
			c.reset()
			return
		}
		q.delivered(len(parcel.data))
	}
}

// readSize is how much one read takes: about a millisecond's worth, so that connections share the line fairly.
func (l *line) readSize() int64 {
	if l.rate == 0 {
		return 128 << 10
	}
	return min(max(l.rate/8/1000, 1448), 64<<10)
}

// transit holds what is under way in one direction of one connection. It is as long as the line makes it; only what has
// arrived and is not taken counts against the window.
type transit struct {
	mu      sync.Mutex
	parcels []parcel
	bytes   int64
	room    chan struct{} // signalled when something was delivered
	filled  chan struct{} // signalled when something was put
}

// put appends a parcel; it waits while the receiver is behind by more than the window.
func (q *transit) put(c *conn, p parcel) bool {
	for q.behind() {
		select {
		case <-q.room:
		case <-c.gone:
			return false
		}
	}
	q.mu.Lock()
	q.parcels = append(q.parcels, p)
	q.bytes += int64(len(p.data))
	q.mu.Unlock()
	signal(q.filled)
	return true
}

// behind tells whether the receiver has left more than a window of arrived bytes untaken.
func (q *transit) behind() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes <= window {
		return false
	}
	now, arrived := time.Now(), int64(0)
	for _, p := range q.parcels {
		if p.arrive.After(now) {
			break
		}
		arrived += int64(len(p.data))
	}
	return arrived > window
}

// get takes the oldest parcel; its bytes count until delivered is called.
func (q *transit) get(c *conn) (parcel, bool) {
	for {
		q.mu.Lock()
		if len(q.parcels) > 0 {
			p := q.parcels[0]
			q.parcels = q.parcels[1:]
			q.mu.Unlock()
			return p, true
		}
		q.mu.Unlock()
		select {
		case <-q.filled:
		case <-c.gone:
			return parcel{}, false
		}
	}
}

func (q *transit) delivered(n int) {
	q.mu.Lock()
	q.bytes -= int64(n)
	q.mu.Unlock()
	signal(q.room)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
