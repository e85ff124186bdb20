//go:build linux

package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/link"
)

// Podman's socket takes an image that Docker saved, and runs it.
func TestPodman(t *testing.T) {
	Need(t, Docker2010, Podman)
	l, ctx := StartTest(t), t.Context()
	from, err := l.Engine(ctx, Docker2010, EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := l.Host(ctx, Podman, HostOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.BuildImage(ctx, from, ImageSpec{Name: "app:1"}); err != nil {
		t.Fatal(err)
	}
	tar := filepath.Join(l.Dir, "app.tar")
	if _, err := from.Docker(ctx, "save", "-o", tar, "app:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Engine.Docker(ctx, "load", "-i", tar); err != nil {
		t.Fatal(err)
	}
	runs(t, l, h.Engine, "app:1")
}

// Every engine builds with BuildKit too.
func TestBuildKit(t *testing.T) {
	Need(t, ModernContainerd)
	l := StartTest(t)
	e, err := l.Engine(t.Context(), ModernContainerd, EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.BuildImage(t.Context(), e, ImageSpec{Name: "kit:1", BuildKit: true, Base: Layer{Size: 1 << 20}, Label: "x"}); err != nil {
		t.Fatal(err)
	}
	runs(t, l, e, "kit:1")
}

// An engine pushes to the registry and gets the image back.
func TestRegistry(t *testing.T) {
	Need(t, ModernContainerd)
	l, ctx := StartTest(t), t.Context()
	r, err := l.Registry(ctx)
	Skip(t, err)
	e, err := l.Engine(ctx, ModernContainerd, EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	name := r.Addr + "/app:1"
	if err := l.BuildImage(ctx, e, ImageSpec{Name: name}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"push", name}, {"rmi", name}, {"pull", name}} {
		if _, err := e.Docker(ctx, args...); err != nil {
			t.Fatal(err)
		}
	}
	runs(t, l, e, name)
}

// Killing the sshd of a connection ends its session for the client, for root and for other users.
func TestConnections(t *testing.T) {
	Need(t)
	Skip(t, needRoot("another user"))
	l := StartTest(t)
	s, err := l.SSHD(t.Context(), SSHDOptions{HostKeys: []string{"ed25519"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"root", "clara"} {
		ended := make(chan error, 1)
		go func() {
			_, err := s.SSHAs(context.Background(), user, "exec sleep 60.25")
			ended <- err
		}()
		sleeps := func(pid int) bool { return commandLine(pid) == "sleep 60.25" }
		for end := time.Now().Add(10 * time.Second); !slices.ContainsFunc(s.Children(), sleeps); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: no session seen", user)
			}
		}
		if err := syscall.Kill(s.Connections()[0], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: the session ended well, want a lost connection", user)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the session goes on", user)
		}
	}
}

// A lab whose owner was killed is removed by the next one: processes, mounts and folder.
func TestSweepDead(t *testing.T) {
	Need(t, Docker2010)
	parent, err := os.MkdirTemp("", "lab") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(parent)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LAB_TEST_VICTIM="+parent)
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the victim was not killed: %v: %s", err, out)
	}
	dirs, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	if len(dirs) != 1 {
		t.Fatalf("folders left: %v; want one", dirs)
	}
	l, err := Start(t.Context(), Options{Dir: parent})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := os.Stat(dirs[0]); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dirs[0], err)
	}
	for pid := range processes() {
		if marked(pid, dirs[0]) {
			t.Errorf("process %d of the dead lab still runs", pid)
		}
	}
	if b, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(b), dirs[0]) {
		t.Error("a mount of the dead lab is left")
	}
}

// victim starts a host in a folder and kills its own process.
func victim(dir string) error {
	l, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		return err
	}
	if _, err := l.Host(context.Background(), Docker2010, HostOptions{StateMiB: 16, Engine: EngineOptions{DataMiB: 100}}); err != nil {
		return err
	}
	return syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// TestMain turns the test's program into the victim of TestSweepDead when it is asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LAB_TEST_VICTIM"); dir != "" {
		fmt.Fprintln(os.Stderr, victim(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A server in a namespace is reached over the path, with its delay.
func TestSSHDOverPath(t *testing.T) {
	Need(t)
	Skip(t, needRoot("a network namespace"))
	l := StartTest(t)
	const rtt = 100 * time.Millisecond
	p, err := link.NewPath(t.Context(), link.PathOptions{Rate: 100e6, RTT: rtt})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s, err := l.SSHD(t.Context(), SSHDOptions{Namespace: p.Server, HostKeys: []string{"ed25519"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	began := time.Now()
	out, err := p.Client.Command(t.Context(), "ssh", "-F", s.Config, s.Name, "echo $SSH_CONNECTION").CombinedOutput()
	if err != nil || !strings.Contains(string(out), p.Client.Addr) {
		t.Errorf("ssh over the path: %s, %v", out, err)
	}
	if d := time.Since(began); d < 4*rtt {
		t.Errorf("a login took %v; want at least four round trips of %v", d, rtt)
	}
}
