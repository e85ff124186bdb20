package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// target starts a server on a loopback port. Its connections are served by echo, which sends everything back, or sink,
// which swallows everything and answers with one byte at the end.
func target(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return ln.Addr().String()
}

func echo(c net.Conn) { io.Copy(c, c) }

func sink(c net.Conn) {
	io.Copy(io.Discard, c)
	c.Write([]byte{1})
}

func listen(t *testing.T, target string, o Options) *Proxy {
	t.Helper()
	p, err := Listen(t.Context(), target, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// upload sends n bytes on each of several connections at once and returns how long it took until all had arrived.
func upload(t *testing.T, p *Proxy, conns, n int) time.Duration {
	t.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	for range conns {
		c := dial(t, p)
		wg.Go(func() {
			if _, err := c.Write(make([]byte, n)); err != nil {
				t.Error(err)
			}
			c.CloseWrite()
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// Everything arrives in order, whatever the link.
func TestProxyCarriesBytes(t *testing.T) {
	for name, o := range map[string]Options{
		"free": {}, "delay only": {RTT: 30 * time.Millisecond}, "thin": {Rate: 200e6, RTT: 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, target(t, echo), o)
			sent := make([]byte, 3<<20)
			rand.NewChaCha8([32]byte{}).Read(sent)
			c := dial(t, p)
			go func() {
				c.Write(sent)
				c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("got %d bytes back of %d, equal %v, %v", len(got), len(sent), bytes.Equal(got, sent), err)
			}
			if p.Up() != int64(len(sent)) || p.Down() != int64(len(sent)) || p.Conns() != 1 {
				t.Errorf("counted %d up, %d down, %d connections", p.Up(), p.Down(), p.Conns())
			}
		})
	}
}

// The rate is that of the link, for one connection and for several together.
func TestProxyRate(t *testing.T) {
	for _, conns := range []int{1, 4} {
		p := listen(t, target(t, sink), Options{Rate: 80e6, RTT: 20 * time.Millisecond})
		// The best of some: a busy machine makes it slower, nothing may make it faster. 4 MB at 10 MB/s, the opening and the
		// way back.
		const want = 0.4 + 0.05
		got := 10.0
		for try := 0; try < 8 && got > want*1.3; try++ {
			got = min(got, upload(t, p, conns, 4_000_000/conns).Seconds())
		}
		if got < want-0.03 || got > want*1.3 {
			t.Errorf("%d connections: 4 MB took %.3f s; want about %.3f s", conns, got, want)
		}
	}
}

// A byte there and back takes one round trip, on a link that is open and idle.
func TestProxyRTT(t *testing.T) {
	const rtt = 50 * time.Millisecond
	p := listen(t, target(t, echo), Options{Rate: 1e9, RTT: rtt})
	c := dial(t, p)
	best := time.Hour
	for range 4 {
		began := time.Now()
		c.Write([]byte("x"))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(began))
	}
	if best < rtt || best > rtt*3/2 {
		t.Errorf("round trip %v; want %v", best, rtt)
	}
}

// A sender cannot push much more into the link than its queue and what is under way.
func TestProxyHoldsSender(t *testing.T) {
	p := listen(t, target(t, sink), Options{Rate: 8e6, RTT: 40 * time.Millisecond})
	c := dial(t, p)
	c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	c.Write(make([]byte, 16<<20))
	// 300 ms at 1 MB/s, a queue of 64 KiB.
	if got := p.Up(); got > 500e3 {
		t.Errorf("the link took %d bytes in 300 ms; want at most 500 kB", got)
	}
}

// Cuts come after the bytes asked for, each once, and the client sees a broken connection.
func TestProxyCuts(t *testing.T) {
	p := listen(t, target(t, sink), Options{Rate: 400e6})
	p.CutAfter(1<<20, 1<<20)
	for i := range 2 {
		c := dial(t, p)
		c.SetDeadline(time.Now().Add(10 * time.Second))
		_, werr := c.Write(make([]byte, 8<<20))
		_, rerr := c.Read(make([]byte, 1))
		if werr == nil && rerr == nil || errors.Is(werr, os.ErrDeadlineExceeded) {
			t.Errorf("cut %d: the connection lives: %v, %v", i+1, werr, rerr)
		}
	}
	if up := p.Up(); up < 2<<20 || up > 4<<20 {
		t.Errorf("%d bytes went up; want a little over 2 MiB", up)
	}
	upload(t, p, 1, 4<<20)
}

// A black hole holds bytes without closing, and lets them go.
func TestProxyBlackhole(t *testing.T) {
	p := listen(t, target(t, echo), Options{})
	c := dial(t, p)
	p.Blackhole(true)
	c.Write([]byte("x"))
	c.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read through a black hole: %v; want nothing", err)
	}
	p.Blackhole(false)
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatalf("after the black hole: %v", err)
	}
}

// A target that is not there shows as a broken connection, and Close may be called twice.
func TestProxyNoTarget(t *testing.T) {
	p, err := Listen(context.Background(), "127.0.0.1:1", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", p.Addr); err == nil { // else it was reset already
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v; want a broken connection", err)
		}
		c.Close()
	}
	for i := range 2 {
		if err := p.Close(); err != nil {
			t.Errorf("close %d: %v", i+1, err)
		}
	}
}
