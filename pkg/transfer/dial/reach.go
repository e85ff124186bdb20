package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/sshkey"
)

// A link is an authenticated connection to one hop.
type link struct {
	client *ssh.Client
	stream *stream
	base   io.Closer    // the transport of the first hop; closing it ends everything that goes through it
	tcp    *net.TCPConn // nil when something is in between
}

// dial goes from hop to hop.
func (r *route) dial(ctx context.Context) (*Conn, error) {
	var at *link
	for _, h := range r.hops {
		next, err := h.reach(ctx, at)
		if err != nil {
			if at != nil {
				at.base.Close()
			}
			return nil, blame(ctx, r.name, err)
		}
		at = next
	}
	r.asker.seal()
	return newConn(r, at), nil
}

// reach connects to a hop, through the link to the hop before it when there is one, and logs in. When the key is
// pinned by its fingerprint, which does not tell its kind, the kinds are tried one after another.
func (h *hop) reach(ctx context.Context, via *link) (*link, error) {
	if h.doorman.fingerprint == "" {
		return h.attempt(ctx, via, h.settings.hostKeyOrder(h.doorman.known))
	}
	var shown []string
	for _, family := range h.families() {
		l, err := h.attempt(ctx, via, family)
		var other errOtherKey
		var none *ssh.AlgorithmNegotiationError
		switch {
		case errors.As(err, &other):
			shown = append(shown, other.shown)
			continue
		case errors.As(err, &none) && none.What == "host key":
			continue
		case err == nil:
			h.mu.Lock()
			h.hostKeys = family
			h.mu.Unlock()
		}
		return l, err
	}
	return nil, h.notPinned(shown)
}

func (h *hop) families() [][]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hostKeys != nil {
		return [][]string{h.hostKeys}
	}
	return h.settings.plainFamilies()
}

// attempt makes one connection and logs in within the hop's time.
func (h *hop) attempt(ctx context.Context, via *link, hostKeys []string) (*link, error) {
	timeout := h.settings.timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &transport{}
	time := newBudget(timeout, func() { cancel(); t.abort() })
	stop := context.AfterFunc(ctx, t.abort)
	l := &login{hop: h, ask: h.asker.interview(time.pause)}
	made, err := h.open(ctx, t, via, l, hostKeys)
	if spent := time.stop(); spent || !stop() {
		// The transport is closed or about to be, whatever came of it.
		t.abort()
		if err == nil {
			err = errAborted
		}
		return nil, h.explain(l, timeout, spent, err)
	}
	if err != nil {
		return nil, h.explain(l, timeout, false, err)
	}
	return made, nil
}

var errAborted = errors.New("ended before it was ready")

func (h *hop) open(ctx context.Context, t *transport, via *link, l *login, hostKeys []string) (*link, error) {
	raw, err := h.connect(ctx, via)
	if err != nil {
		return nil, &connectError{err}
	}
	made := &link{stream: newStream(raw), base: raw}
	made.tcp, _ = raw.(*net.TCPConn)
	if via != nil {
		made.base = via.base
	}
	if !t.set(made.base) {
		return nil, errAborted
	}
	var agent *sshkey.Agent
	if h.settings.pubkey {
		var err error
		if agent, err = sshkey.OpenAgent(ctx, h.settings.agent); err != nil {
			h.warn(err.Error()) // keys in files may do
		}
		defer agent.Close()
		defer context.AfterFunc(ctx, func() { agent.Close() })()
	}
	conn, chans, reqs, err := ssh.NewClientConn(made.stream, h.name, l.config(ctx, agent, hostKeys))
	if err != nil {
		return nil, err
	}
	made.client = ssh.NewClient(conn, chans, reqs)
	h.arrived(l)
	return made, nil
}

// arrived notes what a successful login has shown.
func (h *hop) arrived(l *login) {
	if l.isNew {
		h.doorman.remember(l.accepted)
	}
	if l.signed != nil {
		h.mu.Lock()
		h.good = l.signed.public
		h.mu.Unlock()
	}
}

// connect makes the transport to a hop.
func (h *hop) connect(ctx context.Context, via *link) (net.Conn, error) {
	s := &h.settings
	address := net.JoinHostPort(s.host, strconv.Itoa(s.port))
	switch {
	case via != nil:
		return via.client.DialContext(ctx, "tcp", address)
	case s.proxyCommand != "":
		return startProxy(s)
	}
	d := net.Dialer{}
	if s.bind != "" {
		ip, err := net.ResolveIPAddr("ip", s.bind)
		if err != nil {
			return nil, err
		}
		d.LocalAddr = &net.TCPAddr{IP: ip.IP, Zone: ip.Zone}
	}
	return d.DialContext(ctx, s.family, address)
}

// A transport can be aborted from another goroutine, before or after it is there.
type transport struct {
	mu      sync.Mutex
	base    io.Closer
	aborted bool
}

// set reports whether the transport may be used; when it was aborted before, it is closed.
func (t *transport) set(base io.Closer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.aborted {
		base.Close()
		return false
	}
	t.base = base
	return true
}

func (t *transport) abort() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.aborted = true
	if t.base != nil {
		t.base.Close()
	}
}
