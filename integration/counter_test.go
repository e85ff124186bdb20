//go:build linux

package integration

import (
	"net"
	"sync/atomic"
	"testing"
)

// A counter is a TCP proxy that counts what it passes on.
type counter struct {
	Addr string

	ln       net.Listener
	to       string
	up, down atomic.Int64
	conns    atomic.Int64
}

// newCounter starts a proxy in front of an address; it ends with the test.
func newCounter(t testing.TB, to string) *counter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{Addr: ln.Addr().String(), ln: ln, to: to}
	t.Cleanup(func() { ln.Close() })
	go c.serve()
	return c
}

// Up is how many bytes have gone to the address so far, Down how many came back, Conns how many connections there were.
func (c *counter) Up() int64    { return c.up.Load() }
func (c *counter) Down() int64  { return c.down.Load() }
func (c *counter) Conns() int64 { return c.conns.Load() }

func (c *counter) serve() {
	for {
		in, err := c.ln.Accept()
		if err != nil {
			return
		}
		c.conns.Add(1)
		go c.pass(in.(*net.TCPConn))
	}
}

func (c *counter) pass(in *net.TCPConn) {
	defer in.Close()
	conn, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	out := conn.(*net.TCPConn)
	defer out.Close()
	done := make(chan struct{})
	go func() {
		flow(in, out, &c.down)
		close(done)
	}()
	flow(out, in, &c.up)
	<-done
}

// flow moves bytes until either end closes, then closes the writing half of the other.
func flow(to, from *net.TCPConn, n *atomic.Int64) {
	buf := make([]byte, 256<<10)
	for {
		got, err := from.Read(buf)
		n.Add(int64(got))
		if got > 0 {
			if _, err := to.Write(buf[:got]); err != nil {
				from.CloseRead()
				break
			}
		}
		if err != nil {
			break
		}
	}
	to.CloseWrite()
}
