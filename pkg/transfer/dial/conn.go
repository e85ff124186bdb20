package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A Conn is a connection to a host, logged in. Its methods may be called from any goroutine.
type Conn struct {
	route  *route
	client *ssh.Client
	stream *stream
	base   io.Closer
	tcp    *net.TCPConn
	rtt    atomic.Int64
	done   chan struct{}

	mu    sync.Mutex
	ended bool
	err   error
}

func newConn(r *route, l *link) *Conn {
	c := &Conn{route: r, client: l.client, stream: l.stream, base: l.base, tcp: l.tcp, done: make(chan struct{})}
	go func() {
		err := c.client.Wait()
		if err == nil || errors.Is(err, io.EOF) {
			err = errors.New("the host closed the connection")
		}
		c.end(err)
	}()
	go c.watch(r.alive)
	return c
}

// Client returns the SSH connection, for sessions and subsystems.
func (c *Conn) Client() *ssh.Client { return c.client }

// NewSession opens a channel for one command or subsystem on the host.
func (c *Conn) NewSession() (*ssh.Session, error) { return c.client.NewSession() }

// Host returns the host as it was given to Connect, for messages.
func (c *Conn) Host() string { return c.route.name }

// TCP returns the TCP connection when it goes straight to the host: nil with ProxyCommand and ProxyJump. It is there to
// read and set its properties, not to read or write data.
func (c *Conn) TCP() *net.TCPConn { return c.tcp }

// RTT returns the shortest round trip seen, 0 before the first. The first is measured as soon as the connection
// is there, so it is known once anything has come back from the host.
func (c *Conn) RTT() time.Duration { return time.Duration(c.rtt.Load()) }

func (c *Conn) measured(d time.Duration) {
	if old := c.rtt.Load(); old == 0 || int64(d) < old {
		c.rtt.Store(max(int64(d), 1))
	}
}

// Again makes a further connection to the same place, also when this one is lost. Nothing is asked and nothing is
// looked up again: keys stay unlocked, answers are remembered. Errors are those of Connect.
func (c *Conn) Again(ctx context.Context) (*Conn, error) { return c.route.dial(ctx) }

// Done is closed when the connection has ended, for whatever reason.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns nil while the connection is there and when it was ended by Close, and otherwise why it was lost: a
// *manifest.Failure of KindConnect.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Wait waits for the end of the connection and returns Err.
func (c *Conn) Wait() error {
	<-c.done
	return c.Err()
}

// Close ends the connection and everything that goes through it, at once. It may be called more than once.
func (c *Conn) Close() error {
	c.end(nil)
	return nil
}

// end ends the connection; only the first reason counts.
func (c *Conn) end(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	if why != nil {
		f := manifest.Fail(manifest.KindConnect, "keep the connection", "connection lost: %s", clean(why.Error())).
			Advise("what has arrived is kept: run the same command again to go on")
		f.Host = c.route.name
		c.err = f
	}
	close(c.done)
	c.base.Close()
}
