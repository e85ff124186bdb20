package link

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options describe a link. The zero value is a link without limits that only counts.
type Options struct {
	Rate  int64         // bits per second in each direction, shared by all connections; 0 means no limit
	RTT   time.Duration // round-trip time of the empty link
	Queue int64         // bytes that wait at the bottleneck before the sender is held; default rate × RTT, at least 64 KiB
}

// A Proxy is a TCP proxy on a loopback port that behaves as a link to the target. Its methods may be called at any time
// from any goroutine.
type Proxy struct {
	Addr string // 127.0.0.1:PORT, where clients connect
	Port int

	target   string
	rtt      time.Duration
	listener net.Listener
	lines    [2]*line // up: from client to target; down
	sent     [2]atomic.Int64
	conns    atomic.Int64 // accepted so far
	done     chan struct{}
	wg       sync.WaitGroup

	mu     sync.Mutex
	live   map[*conn]struct{}
	cuts   []int64       // counts of bytes up at which to cut, in order
	thawed chan struct{} // closed while bytes may flow
	frozen bool
}

// Directions of a link.
const (
	up   = 0
	down = 1
)

// Listen starts a proxy to the target, HOST:PORT.
func Listen(ctx context.Context, target string, o Options) (*Proxy, error) {
	// A small receive buffer makes the client feel the link: the kernel would else take megabytes in advance.
	lc := net.ListenConfig{}
	if o.Rate > 0 {
		lc.Control = func(_, _ string, c syscall.RawConn) error { return c.Control(shrinkBuffer) }
	}
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		Addr: ln.Addr().String(), Port: ln.Addr().(*net.TCPAddr).Port,
		target: target, rtt: o.RTT, listener: ln, done: make(chan struct{}),
		lines: [2]*line{newLine(o.Rate, o.RTT, o.Queue), newLine(o.Rate, o.RTT, o.Queue)},
		live:  map[*conn]struct{}{}, thawed: make(chan struct{}),
	}
	close(p.thawed)
	p.wg.Go(p.accept)
	return p, nil
}

// Close cuts all connections and stops listening. Closing twice is no error.
func (p *Proxy) Close() error {
	p.mu.Lock()
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	p.mu.Unlock()
	p.listener.Close()
	p.Cut()
	p.wg.Wait()
	return nil
}

// Up returns how many bytes clients have sent into the link so far: bytes of the TCP streams, without headers.
func (p *Proxy) Up() int64 { return p.sent[up].Load() }

// Down returns how many bytes targets have sent into the link so far.
func (p *Proxy) Down() int64 { return p.sent[down].Load() }

// Conns returns how many connections were accepted so far.
func (p *Proxy) Conns() int64 { return p.conns.Load() }

// Cut resets all connections; what was under way is lost. New connections are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.live {
		c.reset()
	}
}

// CutAfter cuts all connections once each number of further bytes went up, counted from the cut before: CutAfter(a, b)
// cuts after a bytes and again after b more. Without numbers it cancels the cuts still to come.
func (p *Proxy) CutAfter(bytes ...int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts = nil
	at := p.Up()
	for _, n := range bytes {
		at += n
		p.cuts = append(p.cuts, at)
	}
}

// Blackhole makes the link swallow everything, as a line whose far end lost power: connections stay open, nothing
// arrives. With false it lets go on what was held.
func (p *Proxy) Blackhole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on && !p.frozen {
		p.thawed = make(chan struct{})
	}
	if !on && p.frozen {
		close(p.thawed)
	}
	p.frozen = on
}

// gate returns a channel that is closed while bytes may flow.
func (p *Proxy) gate() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.thawed
}

// count adds bytes to a direction and performs the cut that is due.
func (p *Proxy) count(dir, n int) {
	total := p.sent[dir].Add(int64(n))
	if dir != up {
		return
	}
	p.mu.Lock()
	due := len(p.cuts) > 0 && total >= p.cuts[0]
	if due {
		p.cuts = p.cuts[1:]
	}
	p.mu.Unlock()
	if due {
		p.Cut()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.conns.Add(1)
		p.wg.Go(func() { p.serve(client.(*net.TCPConn)) })
	}
}

// serve connects to the target and forwards both ways until both ends are closed or the connection is cut.
func (p *Proxy) serve(client *net.TCPConn) {
	c := &conn{client: client, gone: make(chan struct{})}
	if !p.enter(c) {
		c.reset()
		return
	}
	defer p.leave(c)
	// A server sees a connection when the handshake's third packet arrives; a client may send after the second.
	if !c.wait(p.rtt + p.rtt/2) {
		return
	}
	target, err := net.DialTimeout("tcp", p.target, 10*time.Second)
	if err != nil || !c.attach(target.(*net.TCPConn)) {
		c.reset()
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.forward(c, up, client, target.(*net.TCPConn)) })
	wg.Go(func() { p.forward(c, down, target.(*net.TCPConn), client) })
	wg.Wait()
	c.close()
}

func (p *Proxy) enter(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return false
	default:
		p.live[c] = struct{}{}
		return true
	}
}

func (p *Proxy) leave(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, c)
}
