//go:build linux

// Package integration holds the tests of the built clara-push against real engines and a real sshd.
//
// A test takes a [lab.Engine] as its local engine from source, a [lab.Host] from target (or a host of its own from
// newHost), and runs the program with a client:
//
//	c := newClient(t, source(t, lab.Docker2010), target(t, lab.ModernContainerd))
//	r := c.push("app:1")
//
// Engines and hosts of source and target are shared by all tests and live until the last one has ended, so every test
// uses image names and base layers of its own. Whoever stops, fills or breaks something takes newHost or newEngine.
package integration

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

func TestMain(m *testing.M) {
	if order := os.Getenv(loadOrder); order != "" {
		if err := obey(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) (code int) {
	defer func() {
		if err := shared.close(); err != nil {
			fmt.Fprintln(os.Stderr, "close the shared lab:", err)
			code = max(code, 1)
		}
	}()
	return m.Run()
}

// full reports whether the tests shall run at the sizes that the issue names, not at those of every day.
func full() bool { return os.Getenv("CLARA_PUSH_FULL") != "" }

// shared is what all tests use together; every part starts when it is first asked for.
var shared = world{engines: map[lab.Kind]*lab.Engine{}, hosts: map[lab.Kind]*lab.Host{}}

type world struct {
	mu      sync.Mutex
	lab     *lab.Lab
	program string
	broken  error // why there is no program
	engines map[lab.Kind]*lab.Engine
	hosts   map[lab.Kind]*lab.Host
}

func (w *world) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lab == nil {
		return nil
	}
	return w.lab.Close()
}

// start returns the lab. The caller holds the lock.
func (w *world) start() (*lab.Lab, error) {
	if w.lab != nil {
		return w.lab, nil
	}
	var log io.Writer
	if testing.Verbose() {
		log = os.Stderr
	}
	l, err := lab.Start(context.Background(), lab.Options{Log: log})
	w.lab = l
	return l, err
}

// theLab returns the lab that all tests share.
func theLab(t testing.TB) *lab.Lab {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	l, err := shared.start()
	lab.Skip(t, err)
	return l
}

// source returns the shared engine of a kind that tests build images in.
func source(t testing.TB, k lab.Kind) *lab.Engine {
	t.Helper()
	lab.Need(t, k)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if e := shared.engines[k]; e != nil {
		return e
	}
	l, err := shared.start()
	lab.Skip(t, err)
	e, err := l.Engine(context.Background(), k, lab.EngineOptions{})
	lab.Skip(t, err)
	shared.engines[k] = e
	return e
}

// target returns the shared host with an engine of a kind. The agent is there already.
func target(t testing.TB, k lab.Kind) *lab.Host {
	t.Helper()
	lab.Need(t, k)
	theProgram := program(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if h := shared.hosts[k]; h != nil {
		return h
	}
	l, err := shared.start()
	lab.Skip(t, err)
	h, err := l.Host(context.Background(), k, lab.HostOptions{})
	lab.Skip(t, err)
	install(t, theProgram, h)
	shared.hosts[k] = h
	return h
}

// newEngine returns an engine for one test.
func newEngine(t testing.TB, k lab.Kind, o lab.EngineOptions) *lab.Engine {
	t.Helper()
	lab.Need(t, k)
	e, err := theLab(t).Engine(context.Background(), k, o)
	lab.Skip(t, err)
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Errorf("stop %s: %v", e.Name, err)
		}
	})
	return e
}

// newHost returns a host for one test, without an agent on it.
func newHost(t testing.TB, k lab.Kind, o lab.HostOptions) *lab.Host {
	t.Helper()
	return newHostOf(t, newEngine(t, k, o.Engine), o)
}

// newHostOf returns another way into a running engine: an SSH server for one test, with a state folder of its own and
// without an agent.
func newHostOf(t testing.TB, e *lab.Engine, o lab.HostOptions) *lab.Host {
	t.Helper()
	h, err := theLab(t).HostOf(context.Background(), e, o)
	lab.Skip(t, err)
	t.Cleanup(func() {
		if err := h.SSHD.Stop(); err != nil {
			t.Errorf("stop %s: %v", h.Name, err)
		}
	})
	return h
}

// install puts clara-push into the PATH of the host's sessions, as a package would.
func install(t testing.TB, program string, h *lab.Host) {
	t.Helper()
	if err := os.Link(program, filepath.Join(h.Bin, "clara-push")); err != nil {
		t.Fatal(err)
	}
}

// program builds clara-push, once, as a release is built, and returns its path. What does not build fails every test.
func program(t testing.TB) string {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.program == "" && shared.broken == nil {
		l, err := shared.start()
		lab.Skip(t, err)
		shared.program, shared.broken = buildProgram(l.Dir)
	}
	if shared.broken != nil {
		t.Fatal(shared.broken)
	}
	return shared.program
}

func buildProgram(dir string) (string, error) {
	path := filepath.Join(dir, "clara-push")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "github.com/clara-push/clara-push/cmd/clara-push")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build clara-push: %w\n%s", err, out)
	}
	return path, nil
}
