package dial

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A proxyConn is the standard input and output of a ProxyCommand.
type proxyConn struct {
	in    *os.File // what we write to it
	out   *os.File // what it writes
	talk  *limitedBuffer
	cmd   *exec.Cmd
	ended chan struct{}
	once  sync.Once
}

// startProxy runs ProxyCommand in a shell. Host, user and port have been checked letter by letter before they become
// part of the command line; a backslash, which user names may have, is refused here.
func startProxy(s *settings) (net.Conn, error) {
	if strings.Contains(s.user, `\`) || strings.Contains(s.asked.Name, `\`) {
		return nil, manifest.Fail(manifest.KindUsage, "run ProxyCommand", "a user name with a backslash cannot be used with ProxyCommand")
	}
	line, err := tokens{
		'%': "%", 'h': s.host, 'n': s.asked.Name, 'p': fmt.Sprint(s.port), 'r': s.user,
	}.expand(s.proxyCommand)
	if err != nil {
		return nil, manifest.Fail(manifest.KindUsage, "read ssh_config", "ProxyCommand: %w", err)
	}
	return runProxy(shell(line))
}

func runProxy(cmd *exec.Cmd) (*proxyConn, error) {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		theirIn.Close()
		in.Close()
		return nil, err
	}
	p := &proxyConn{in: in, out: out, talk: &limitedBuffer{}, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = theirIn, theirOut, p.talk, time.Second
	err = cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		in.Close()
		out.Close()
		return nil, fmt.Errorf("run ProxyCommand: %w", err)
	}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *proxyConn) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if err != nil && n == 0 {
		return n, p.why(err)
	}
	return n, err
}

func (p *proxyConn) Write(b []byte) (int, error) {
	n, err := p.in.Write(b)
	if err != nil {
		err = p.why(err)
	}
	return n, err
}

// why adds what the command said and how it ended, when it has ended.
func (p *proxyConn) why(err error) error {
	select {
	case <-p.ended:
	case <-time.After(200 * time.Millisecond):
		return err
	}
	text := p.cmd.ProcessState.String()
	if said := clean(strings.TrimSpace(p.talk.String())); said != "" {
		text += ": " + said
	}
	return &proxyError{text, err}
}

// A proxyError is the end of a ProxyCommand.
type proxyError struct {
	text string
	err  error
}

func (e *proxyError) Error() string { return "ProxyCommand ended (" + e.text + ")" }
func (e *proxyError) Unwrap() error { return e.err }

// Close ends the command: first by closing its input and output and a polite signal, after a second for good.
func (p *proxyConn) Close() error {
	p.once.Do(func() {
		p.in.Close()
		p.out.Close()
		hangUp(p.cmd.Process)
		go func() {
			select {
			case <-p.ended:
			case <-time.After(time.Second):
				_ = p.cmd.Process.Kill()
			}
		}()
	})
	return nil
}

type proxyAddr struct{}

func (proxyAddr) Network() string { return "proxy" }
func (proxyAddr) String() string  { return "ProxyCommand" }

func (p *proxyConn) LocalAddr() net.Addr  { return proxyAddr{} }
func (p *proxyConn) RemoteAddr() net.Addr { return proxyAddr{} }

var errNoDeadline = errors.New("a ProxyCommand has no deadlines")

func (p *proxyConn) SetDeadline(time.Time) error      { return errNoDeadline }
func (p *proxyConn) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (p *proxyConn) SetWriteDeadline(time.Time) error { return errNoDeadline }
