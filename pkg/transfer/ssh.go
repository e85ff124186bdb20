package transfer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/user"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/dial"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// SSHOptions say how to reach a host and how to work there. The zero value does what most hosts need.
type SSHOptions struct {
	Dial       dial.Options
	Agent      string        // path here of the program to run there; empty: one in the host's PATH, else our own
	AgentDir   string        // folder there for the program; empty: ~/.cache/clara-push
	Sudo       bool          // run the agent through sudo -n
	StateDir   string        // folder there for stage and receipts; empty: the agent's choice
	EngineHost string        // engine there, as unix://…; empty: the agent's search
	NoEngine   bool          // only models are pushed: the host may have no engine
	AnyEngine  bool          // an engine is used if there is one
	Repository string        // folder of models there; empty: no models are pushed
	LockWait   time.Duration // how long to wait for another push; 0: fail at once
	LimitRate  int64         // bytes per second, over all connections; 0: no limit
	Version    string        // of this clara-push
	Events     manifest.Events
}

// SSH is a host reached over SSH. It is for one goroutine at a time.
type SSH struct {
	host    string
	options SSHOptions
	session string
	from    string
	limit   *limiter
	wire    atomic.Int64 // bytes of frames sent
	start   starter

	mu      sync.Mutex
	first   *dial.Conn   // nil only after Close; once lost, the way to a new one
	lost    bool         // first no longer carries anything
	control *channel     // nil when there is no agent
	welcome wire.Welcome // of the agent on control
}

// Dial connects to host and starts the agent there. Failures have the kinds of dial.Connect, besides KindPermission when
// no agent can run or the engine is out of reach.
func Dial(ctx context.Context, host string, o SSHOptions) (*SSH, error) {
	s := &SSH{host: host, options: o, session: newSession(), from: whoami(), limit: newLimiter(o.LimitRate)}
	o.Events.Say(manifest.StepConnect, "", "connecting to "+host)
	conn, err := dial.Connect(ctx, host, o.Dial)
	if err != nil {
		return nil, err
	}
	s.first = conn
	s.start = newStarter(o)
	if err := s.greet(ctx); err != nil {
		s.Close()
		return nil, manifest.On(host, err)
	}
	return s, nil
}

func newSession() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return hex.EncodeToString(b[:])
}

func whoami() string {
	name, machine := "somebody", "somewhere"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		machine = h
	}
	return name + "@" + machine
}

// greet starts the agent on the connection and introduces us.
func (s *SSH) greet(ctx context.Context) error {
	s.options.Events.Say(manifest.StepAgent, "", "starting the agent")
	c, err := s.start.agent(ctx, s.first, s.limit, &s.wire)
	if err != nil {
		return s.lostBy(err)
	}
	go c.heartbeat()
	hello := &wire.Hello{
		Version: s.options.Version, From: s.from, Session: s.session, StateDir: s.options.StateDir,
		EngineHost: s.options.EngineHost, LockWait: int64(s.options.LockWait / time.Second),
		NoEngine: s.options.NoEngine, AnyEngine: s.options.AnyEngine, Repository: s.options.Repository,
	}
	m, err := c.call(ctx, wire.Message{Type: wire.THello, Hello: hello}, s.interim(s.options.Events, nil))
	if err == nil && m.Welcome == nil {
		err = manifest.Fail(manifest.KindInternal, "agent", "the agent answered %q to the hello", string(m.Type))
	}
	if err != nil {
		c.Close()
		return s.lostBy(err)
	}
	s.control, s.welcome = c, *m.Welcome
	text := "agent " + manifest.Plain(m.Welcome.Version)
	if m.Welcome.Engine.Name != "" {
		text += ", " + manifest.Plain(m.Welcome.Engine.String())
	}
	if rtt := s.first.RTT(); rtt > 0 {
		text += fmt.Sprintf(", round trip %.2f ms", rtt.Seconds()*1e3)
	}
	s.options.Events.Say(manifest.StepAgent, "", text)
	return nil
}

// lostBy notes that nothing more can be had of the connection when err says so.
func (s *SSH) lostBy(err error) error {
	if manifest.KindOf(err) == manifest.KindConnect && !isOfSource(err) || s.first.Err() != nil {
		s.drop()
	}
	return err
}

// drop ends the agent's channel; the next request connects again.
func (s *SSH) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control != nil {
		s.control.Close()
		s.control = nil
	}
	s.first.Close()
	s.lost = true
}

// ready connects again after a loss.
func (s *SSH) ready(ctx context.Context) (*channel, error) {
	if s.control != nil && s.first.Err() == nil {
		return s.control, nil
	}
	if s.lost || s.first.Err() != nil {
		conn, err := s.first.Again(ctx)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.first, s.lost = conn, false
		s.mu.Unlock()
	}
	if err := s.greet(ctx); err != nil {
		return nil, err
	}
	return s.control, nil
}

// Platform implements Target.
func (s *SSH) Platform() manifest.Platform { return s.welcome.Platform }

// Wire is how many bytes of frames were sent so far.
func (s *SSH) Wire() int64 { return s.wire.Load() }

// Inventory implements Target.
func (s *SSH) Inventory(ctx context.Context, q manifest.Query) (manifest.Inventory, error) {
	m, err := s.request(ctx, wire.Message{Type: wire.TInventory, Query: &q}, nil)
	if err != nil {
		return manifest.Inventory{}, err
	}
	if m.Inventory == nil {
		return manifest.Inventory{}, s.unexpected(m)
	}
	return *m.Inventory, nil
}

func (s *SSH) request(ctx context.Context, m wire.Message, notify func(wire.Message)) (wire.Message, error) {
	c, err := s.ready(ctx)
	if err != nil {
		return wire.Message{}, manifest.On(s.host, err)
	}
	answer, err := c.call(ctx, m, notify)
	if err != nil {
		return answer, manifest.On(s.host, s.lostBy(err))
	}
	return answer, nil
}

func (s *SSH) unexpected(m wire.Message) error {
	return manifest.On(s.host, manifest.Fail(manifest.KindInternal, "agent", "unexpected answer %.20q", string(m.Type)))
}

// interim passes events on and calls commit when the agent passes its commit point.
func (s *SSH) interim(ev manifest.Events, commit func()) func(wire.Message) {
	return func(m wire.Message) {
		switch {
		case m.Type == wire.TCommit && commit != nil:
			commit()
			ev.Say(manifest.StepLoad, "", "the host has everything and finishes by itself from here on")
		case m.Type == wire.TEvent && m.Event != nil && ev != nil:
			e := *m.Event
			e.Text, e.Ref = manifest.Plain(e.Text), manifest.Plain(e.Ref)
			ev(e)
		}
	}
}

// Close ends the agent and the connection. It may be called twice.
func (s *SSH) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control != nil {
		s.control.Close()
	}
	return s.first.Close()
}
