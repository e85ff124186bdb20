package transfer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// greetingTime bounds how long an agent may take to start.
const greetingTime = 60 * time.Second

var errSilent = errors.New("the agent did not answer")

// A channel is one agent process on the host and the frames to and from it.
type channel struct {
	ssh    *ssh.Session
	w      *wire.Writer
	stderr *tail
	wrote  *atomic.Int64 // bytes of frames, counted over all channels
	flow   flow          // bytes that this channel has swallowed

	mu     sync.Mutex
	next   uint64
	calls  map[uint64]*call
	ended  chan struct{}
	reason error // set before ended is closed
}

// A call is a request whose answer is awaited.
type call struct {
	notify func(wire.Message) // what comes before the answer; may be nil
	answer chan wire.Message  // holds one
}

// startFailure is why an agent did not come up: what the host printed, and the exit status of the command.
type startFailure struct {
	status  int // -1: none
	printed string
	stderr  string
	err     error
}

func (f *startFailure) Error() string {
	text := strings.TrimSpace(f.stderr)
	if text == "" {
		text = strings.TrimSpace(f.printed)
	}
	if text == "" {
		text = f.err.Error()
	}
	return manifest.Plain(text)
}

func (f *startFailure) Unwrap() error { return f.err }

// openChannel runs command on the host and awaits an agent's greeting. It fails with a *startFailure when something else
// than an agent answered.
func openChannel(ctx context.Context, client *ssh.Client, command string, limit *limiter, wrote *atomic.Int64) (*channel, error) {
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	c := &channel{ssh: session, stderr: &tail{}, wrote: wrote, calls: map[uint64]*call{}, ended: make(chan struct{})}
	in, err := c.start(ctx, command, limit)
	if err != nil {
		session.Close()
		return nil, err
	}
	go c.read(in)
	return c, nil
}

func (c *channel) start(ctx context.Context, command string, limit *limiter) (*bufio.Reader, error) {
	stdin, err := c.ssh.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.ssh.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.ssh.Stderr = c.stderr
	if err := c.ssh.Start(command); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(stdout, 64<<10)
	if err := c.greeted(ctx, in); err != nil {
		return nil, err
	}
	c.w = wire.NewWriter(limit.wrap(c.flow.wrap(stdin)))
	return in, nil
}

// greeted waits for the greeting, and does not wait longer than ctx for a host that neither greets nor ends the command:
// closing the session does not end a read, only the other side's answer to that would.
func (c *channel) greeted(ctx context.Context, in *bufio.Reader) error {
	ctx, cancel := context.WithTimeoutCause(ctx, greetingTime, errSilent)
	defer cancel()
	came := make(chan error, 1)
	go func() {
		printed, err := wire.AwaitGreeting(in)
		if err != nil {
			err = c.notStarted(printed, err)
		}
		came <- err
	}()
	select {
	case err := <-came:
		return err
	case <-ctx.Done():
	}
	if !errors.Is(context.Cause(ctx), errSilent) {
		return fmt.Errorf("the agent has not answered yet: %w", ctx.Err())
	}
	return manifest.Fail(manifest.KindConnect, "agent", "%w within %s", errSilent, greetingTime).
		Advise("log in with ssh and see whether a login script waits for something")
}

func (c *channel) notStarted(printed string, err error) error {
	f := &startFailure{status: -1, printed: printed, err: err}
	wait := c.ssh.Wait()
	var exit *ssh.ExitError
	switch {
	case wait == nil:
		f.status = 0
	case errors.As(wait, &exit):
		f.status = exit.ExitStatus()
	default:
		f.err = wait
	}
	f.stderr = c.stderr.String()
	return f
}

// read delivers answers until the stream ends.
func (c *channel) read(in io.Reader) {
	for {
		m, _, err := wire.Read(in, nil)
		if err != nil {
			c.finish(err)
			return
		}
		c.deliver(m)
	}
}

func (c *channel) deliver(m wire.Message) {
	c.mu.Lock()
	k := c.calls[m.ID]
	interim := m.Type == wire.TEvent || m.Type == wire.TCommit
	if k != nil && !interim {
		delete(c.calls, m.ID)
	}
	c.mu.Unlock()
	switch {
	case k == nil:
	case interim && k.notify != nil:
		k.notify(m)
	case !interim:
		k.answer <- m
	}
}

// finish notes why the stream ended and wakes every waiter.
func (c *channel) finish(err error) {
	c.ssh.Close()
	text := strings.TrimSpace(manifest.Plain(c.stderr.String()))
	if text != "" {
		err = fmt.Errorf("%w (the agent said: %s)", err, text)
	}
	c.reason = manifest.Fail(manifest.KindConnect, "", "lost the connection: %w", err)
	close(c.ended)
}

// begin sends a request and returns what will hold its answer.
func (c *channel) begin(m wire.Message, body []byte, notify func(wire.Message)) (*call, error) {
	k := &call{notify: notify, answer: make(chan wire.Message, 1)}
	c.mu.Lock()
	c.next++
	m.ID = c.next
	c.calls[m.ID] = k
	c.mu.Unlock()
	return k, c.send(m, body)
}

// send writes a message that nobody answers.
func (c *channel) send(m wire.Message, body []byte) error {
	n, err := c.w.Send(m, body)
	c.wrote.Add(int64(n))
	if err != nil {
		return manifest.Fail(manifest.KindConnect, "", "lost the connection: %w", err)
	}
	return nil
}

// wait returns the answer, the host's failure as an error, or the reason why no answer will come.
func (c *channel) wait(ctx context.Context, k *call) (wire.Message, error) {
	select {
	case m := <-k.answer:
		return checked(m)
	case <-ctx.Done():
		return wire.Message{}, ctx.Err()
	case <-c.ended:
	}
	select { // the answer may have come just before the end
	case m := <-k.answer:
		return checked(m)
	default:
		return wire.Message{}, c.reason
	}
}

func checked(m wire.Message) (wire.Message, error) {
	if m.Type == wire.TFailure && m.Failure != nil {
		return m, m.Failure.Unpack()
	}
	return m, nil
}

// call sends a request and waits for its answer.
func (c *channel) call(ctx context.Context, m wire.Message, notify func(wire.Message)) (wire.Message, error) {
	k, err := c.begin(m, nil, notify)
	if err != nil {
		return wire.Message{}, err
	}
	return c.wait(ctx, k)
}

// heartbeat shows the agent that somebody is there, until the channel ends.
func (c *channel) heartbeat() {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if c.send(wire.Message{Type: wire.TPing}, nil) != nil {
				return
			}
		case <-c.ended:
			return
		}
	}
}

// Close ends the channel. It may be called twice.
func (c *channel) Close() error { return c.ssh.Close() }

// tail keeps the last of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > tailSize {
		t.buf = append([]byte(nil), t.buf[len(t.buf)-tailSize:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
