//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os/exec"

	"github.com/clara-push/clara-push/integration/link"
)

// unavailable says why this machine cannot have a line.
type unavailable struct{ err error }

func (u *unavailable) Error() string { return u.err.Error() }
func (u *unavailable) Unwrap() error { return u.err }

const relayPort = 22

// lossy makes a line ready that loses packets: network namespaces with TUN devices between them. The client runs in one.
// In the other, a relay hands its connections to the host's sshd; what matters for a push is the client's TCP, which
// sends into the lossy line.
func (w *world) lossy(ctx context.Context, l line) (*route, error) {
	if l.bbr && !link.HaveCongestion("bbr") {
		return nil, &unavailable{errors.New("this kernel has no BBR")}
	}
	path, err := link.NewPath(ctx, link.PathOptions{Rate: l.rate, RTT: l.rtt, Loss: l.loss, Seed: 1})
	if err != nil {
		return nil, &unavailable{err}
	}
	ln, err := path.Server.Listen(ctx, net.JoinHostPort(path.Server.Addr, "22"))
	if err != nil {
		return nil, errors.Join(err, path.Close())
	}
	go relay(ln, w.host.Addr)
	r := &route{enter: path.Client.Words(), close: func() error { return errors.Join(ln.Close(), path.Close()) }}
	if !l.bbr {
		r.start = link.StartFixedCongestion
	}
	if err := w.writeConfig(r, l, path.Server.Addr, relayPort); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// relay forwards what ln accepts to an address, until ln is closed.
func relay(ln net.Listener, to string) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			host, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer host.Close()
			go copyHalf(host, c)
			copyHalf(c, host)
		}()
	}
}

// copyHalf copies one direction and passes its end on.
func copyHalf(to, from net.Conn) {
	_, _ = io.Copy(to, from) // a cut is passed on by the closing
	if t, ok := to.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
}

// begin starts a command as the line demands.
func (r *route) begin(c *exec.Cmd) error {
	if r.start != nil {
		return r.start(c)
	}
	return c.Start()
}
