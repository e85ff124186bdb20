package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// silent listens, says something and then nothing any more.
func silent(t *testing.T, greeting string) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			_, _ = io.WriteString(c, greeting)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func emptyConfig(t *testing.T) string {
	config := filepath.Join(t.TempDir(), "config")
	write(t, config, "UserKnownHostsFile none\nGlobalKnownHostsFile none\nIdentityAgent none\nIdentityFile none\n")
	return config
}

func TestUnreachable(t *testing.T) {
	closing := closingServer(t)
	for _, c := range []struct {
		name, host string
		timeout    time.Duration
		words      string
	}{
		{"nothing listens", fmt.Sprintf("127.0.0.1:%d", freePort(t)), 0, "refused"},
		{"no answer at all", fmt.Sprintf("127.0.0.1:%d", silent(t, "")), 500 * time.Millisecond, "timed out"},
		{"no answer after the greeting", fmt.Sprintf("127.0.0.1:%d", silent(t, "SSH-2.0-x\r\n")), 500 * time.Millisecond, "timed out"},
		{"no SSH", fmt.Sprintf("127.0.0.1:%d", silent(t, "HTTP/1.1 400 Bad\x1b[31m Request\r\n"+strings.Repeat("x", 300)+"\r\n")), 2 * time.Second, ""},
		{"closes at once", fmt.Sprintf("127.0.0.1:%d", closing), 0, "closed the connection"},
		{"no such name", "no-such-host.invalid", 0, "no-such-host.invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			_, err := Connect(t.Context(), c.host, Options{ConfigFile: emptyConfig(t), ConnectTimeout: c.timeout})
			checkKind(t, err, manifest.KindConnect)
			wants(t, err, c.words)
			if strings.ContainsAny(err.Error(), "\x1b\r\n") {
				t.Errorf("control characters: %q", err)
			}
			if took := time.Since(start); c.timeout > 0 && took > c.timeout+time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func closingServer(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// TestTimeoutsEverywhere has a host that does not answer directly, behind a jump host and behind a ProxyCommand.
func TestTimeoutsEverywhere(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519")
	port := silent(t, "SSH-2.0-x\r\n")
	for name, line := range map[string]string{
		"jump host that does not answer": fmt.Sprintf("Host box\n ProxyJump quiet\nHost quiet\n HostName 127.0.0.1\n Port %d\n", port),
		"behind a jump host":             fmt.Sprintf("Host box\n ProxyJump me\n Port %d\nHost me\n HostName 127.0.0.1\n Port %d\n", port, s.port),
		"behind a command":               "Host box\n ProxyCommand sleep 60\n",
		"ConnectTimeout":                 fmt.Sprintf("Host box\n Port %d\n ConnectTimeout 1\n", port),
	} {
		t.Run(name, func(t *testing.T) {
			config, _ := s.setup(t, line, known(s.bracketed(), s.host["ed25519"]))
			o := Options{ConfigFile: config, ConnectTimeout: time.Second}
			if name == "ConnectTimeout" {
				o.ConnectTimeout = 0
			}
			start := time.Now()
			_, err := Connect(t.Context(), "box", o)
			checkKind(t, err, manifest.KindConnect)
			wants(t, err, "timed out")
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestCancelEndsAtOnce(t *testing.T) {
	port := silent(t, "SSH-2.0-x\r\n")
	for _, c := range []struct {
		name string
		ctx  func() (context.Context, context.CancelFunc)
		want manifest.Kind
		is   error
	}{
		{"cancelled", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(200*time.Millisecond, cancel)
			return ctx, cancel
		}, manifest.KindInterrupted, context.Canceled},
		{"deadline", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 200*time.Millisecond)
		}, manifest.KindConnect, context.DeadlineExceeded},
	} {
		ctx, cancel := c.ctx()
		defer cancel()
		start := time.Now()
		_, err := Connect(ctx, fmt.Sprintf("127.0.0.1:%d", port), Options{ConfigFile: emptyConfig(t)})
		if manifest.KindOf(err) != c.want || !errors.Is(err, c.is) {
			t.Errorf("%s: %v", c.name, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: took %v", c.name, took)
		}
	}
}

// A slow person must not run into the time-out of the connection, and a cancelled question ends.
type slow struct{ wait time.Duration }

func (s slow) Secret(ctx context.Context, _ string) (string, error) {
	select {
	case <-time.After(s.wait):
		return "secret", nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
func (s slow) Line(ctx context.Context, p string) (string, error) { return s.Secret(ctx, p) }

func TestTimeToThink(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := passwordServer(t, byPassword("secret"))
	config, _ := s.setup(t, "", known(s.bracketed(), s.host["ed25519"]))
	o := Options{ConfigFile: config, ConnectTimeout: 2 * time.Second, Prompt: slow{3 * time.Second}}
	_, err := logIn(t, "box", o)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	o.Prompt = slow{time.Minute}
	start := time.Now()
	if _, err := Connect(ctx, "box", o); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// A road is a TCP proxy that can stop carrying anything, as a line does when a cable is pulled: nothing is closed.
type road struct {
	port   int
	frozen atomic.Bool
	thin   atomic.Bool // carries about 100 KiB a second towards the host
}

func newRoad(t *testing.T, to int) *road {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	r := &road{port: l.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", to))
			if err != nil {
				in.Close()
				continue
			}
			t.Cleanup(func() { in.Close(); out.Close() })
			go r.carry(out, in, true)
			go r.carry(in, out, false)
		}
	}()
	return r
}

func (r *road) carry(to, from net.Conn, up bool) {
	defer to.Close()
	buf := make([]byte, 10<<10)
	for {
		n, err := from.Read(buf)
		for r.frozen.Load() {
			time.Sleep(20 * time.Millisecond)
		}
		if up && r.thin.Load() {
			time.Sleep(100 * time.Millisecond)
		}
		if _, e := to.Write(buf[:n]); err != nil || e != nil {
			return
		}
	}
}

func TestKeepAlive(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519")
	r := newRoad(t, s.port)
	config, _ := s.setup(t, fmt.Sprintf("Host road\n HostName 127.0.0.1\n HostKeyAlias box\n Port %d\n", r.port), known("box", s.host["ed25519"]))
	c, err := logIn(t, "road", Options{ConfigFile: config, KeepAlive: 500 * time.Millisecond})
	must(t, err)
	if rtt := c.RTT(); rtt <= 0 || rtt > 100*time.Millisecond {
		t.Errorf("RTT %v", rtt)
	}
	time.Sleep(2 * time.Second)
	if c.Err() != nil {
		t.Fatalf("the connection ended by itself: %v", c.Err())
	}
	session, err := c.NewSession()
	must(t, err)
	in, err := session.StdinPipe()
	must(t, err)
	must(t, session.Start("cat >/dev/null"))
	r.frozen.Store(true)
	start := time.Now()
	go func() { _, _ = io.Copy(in, endless{}) }() // would hang on a dead line
	err = c.Wait()
	checkKind(t, err, manifest.KindConnect)
	wants(t, err, "road", "connection lost")
	if took := time.Since(start); took < time.Second || took > 10*time.Second {
		t.Errorf("noticed after %v", took)
	}
	r.frozen.Store(false)
	again, err := c.Again(t.Context())
	must(t, err)
	run(t, again)
	must(t, again.Close())
	must(t, again.Close())
	if err := again.Wait(); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

// endless is a source of zeros.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// TestThinLineIsAlive fills all buffers of a line so that answers to keepalives come seconds late.
func TestThinLineIsAlive(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519")
	r := newRoad(t, s.port)
	config, _ := s.setup(t, fmt.Sprintf("Host road\n HostName 127.0.0.1\n HostKeyAlias box\n Port %d\n", r.port), known("box", s.host["ed25519"]))
	c, err := logIn(t, "road", Options{ConfigFile: config, KeepAlive: time.Second})
	must(t, err)
	session, err := c.NewSession()
	must(t, err)
	in, err := session.StdinPipe()
	must(t, err)
	must(t, session.Start("cat >/dev/null"))
	r.thin.Store(true)
	go func() { _, _ = io.Copy(in, endless{}) }()
	select {
	case <-c.Done():
		t.Errorf("a slow connection was taken for a dead one: %v", c.Err())
	case <-time.After(8 * time.Second):
	}
}

func TestServerGoes(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519")
	config, _ := s.setup(t, "", known(s.bracketed(), s.host["ed25519"]))
	c, err := logIn(t, "box", Options{ConfigFile: config})
	must(t, err)
	session, err := c.NewSession()
	must(t, err)
	_ = session.Run("kill -9 $PPID") // the sshd of this connection
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("not noticed")
	}
	checkKind(t, c.Err(), manifest.KindConnect)
	again, err := c.Again(t.Context())
	must(t, err)
	run(t, again)
	again.Close()
}

func TestAgainSeveralAtOnce(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519")
	config, _ := s.setup(t, "", "")
	c, err := logIn(t, "box", Options{ConfigFile: config, AcceptNew: true})
	must(t, err)
	errs := make(chan error)
	for range 4 {
		go func() {
			again, err := c.Again(t.Context())
			if err == nil {
				err = again.Close()
			}
			errs <- err
		}()
	}
	for range 4 {
		must(t, <-errs)
	}
}

func TestAgainLooksNothingUp(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519")
	config, file := s.setup(t, "", known(s.bracketed(), s.host["ed25519"]))
	c, err := logIn(t, "box", Options{ConfigFile: config})
	must(t, err)
	for _, gone := range []string{config, file, s.client.path} {
		must(t, os.Remove(gone))
	}
	again, err := c.Again(t.Context())
	must(t, err)
	run(t, again)
	again.Close()
}

// TestNewKeysOnTheWay has a server that exchanges keys anew every megabyte, and shows its host key each time.
func TestNewKeysOnTheWay(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519", "RekeyLimit 1M")
	config, _ := s.setup(t, "", known(s.bracketed(), s.host["ed25519"]))
	c, err := logIn(t, "box", Options{ConfigFile: config})
	must(t, err)
	session, err := c.NewSession()
	must(t, err)
	session.Stdin = io.LimitReader(endless{}, 5<<20)
	out, err := session.Output("wc -c")
	if strings.TrimSpace(string(out)) != fmt.Sprint(5<<20) || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	run(t, c)
}
