package link

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newPath opens a path or skips the test where that cannot be had.
func newPath(t *testing.T, o PathOptions) *Path {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: a path below TCP needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("skipped: no TUN devices: %v", err)
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("skipped: iproute2 is not installed")
	}
	p, err := NewPath(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// connect opens a TCP connection over the path; serve gets the server's side.
func connect(t *testing.T, p *Path, serve func(net.Conn)) *net.TCPConn {
	t.Helper()
	ln, err := p.Server.Listen(t.Context(), p.Server.Addr+":2000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		if c, err := ln.Accept(); err == nil {
			defer c.Close()
			serve(c)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := p.Client.Dial(ctx, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// stream sends n bytes and returns how long it took until they had arrived.
func stream(t *testing.T, c *net.TCPConn, n int) time.Duration {
	t.Helper()
	began := time.Now()
	c.SetDeadline(began.Add(60 * time.Second))
	if _, err := c.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	c.CloseWrite()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// A byte there and back takes the round trip; the handshake has taken another.
func TestPathRTT(t *testing.T) {
	const rtt = 40 * time.Millisecond
	p := newPath(t, PathOptions{Rate: 100e6, RTT: rtt})
	c := connect(t, p, echo)
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

// A lossless path carries nearly its rate.
func TestPathRate(t *testing.T) {
	best := time.Hour
	for range 3 {
		p := newPath(t, PathOptions{Rate: 80e6, RTT: 10 * time.Millisecond})
		best = min(best, stream(t, connect(t, p, sink), 4_000_000))
		if best < 600*time.Millisecond {
			break
		}
	}
	// 4 MB and 4 % of headers at 10 MB/s, and a slow start.
	if got := best.Seconds(); got < 0.4 || got > 0.8 {
		t.Errorf("4 MB took %.3f s; want about 0.45 s", got)
	}
}

// The share of packets lost is what was asked for, and TCP delivers everything all the same.
func TestPathLoss(t *testing.T) {
	p := newPath(t, PathOptions{RTT: 2 * time.Millisecond, Loss: 0.01, Seed: 7})
	stream(t, connect(t, p, sink), 20<<20)
	c := p.Up()
	share := float64(c.Lost) / float64(c.Packets)
	if c.Packets < 10_000 || share < 0.006 || share > 0.015 {
		t.Errorf("%d of %d packets lost (%.4f); want 0.01 of over 10000", c.Lost, c.Packets, share)
	}
}

// The default congestion control is as asked.
func TestCongestion(t *testing.T) {
	p := newPath(t, PathOptions{Congestion: "cubic"})
	c := connect(t, p, sink)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var name string
	raw.Control(func(fd uintptr) { name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION) })
	if err != nil || strings.TrimRight(name, "\x00") != "cubic" {
		t.Errorf("congestion control %q, %v; want cubic", name, err)
	}
	if !HaveCongestion("reno") || HaveCongestion("none such") {
		t.Error("HaveCongestion is wrong about reno or about an unknown name")
	}
}

// A program started with a fixed congestion control cannot choose one.
func TestFixedCongestion(t *testing.T) {
	if os.Getenv("LINK_TEST_CHOOSE") != "" {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err == nil {
			err = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: needs root")
	}
	for _, fixed := range []bool{false, true} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFixedCongestion$")
		cmd.Env = append(os.Environ(), "LINK_TEST_CHOOSE=1")
		var out strings.Builder
		cmd.Stdout = &out
		start := cmd.Start
		if fixed {
			start = func() error { return StartFixedCongestion(cmd) }
		}
		if err := start(); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if chose := err == nil; chose == fixed {
			t.Errorf("fixed %v: the program chose: %v\n%s", fixed, chose, &out)
		}
	}
}

// A command in a namespace sees the path's device only.
func TestNamespaceCommand(t *testing.T) {
	p := newPath(t, PathOptions{})
	out, err := p.Client.Command(t.Context(), "ip", "-o", "-4", "addr").CombinedOutput()
	if err != nil || !strings.Contains(string(out), p.Client.Addr) || strings.Contains(string(out), "eth0") {
		t.Errorf("addresses in the namespace: %s, %v", out, err)
	}
}
