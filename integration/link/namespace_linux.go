package link

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Namespace is a network namespace with one end of a path in it, and a loopback device.
type Namespace struct {
	Name string // as "ip netns" knows it
	Addr string // IPv4 address of this end
}

var namespaces atomic.Int64

// newNamespace makes a namespace whose name tells the process that owns it.
func newNamespace(ctx context.Context, end, addr string) (*Namespace, error) {
	n := &Namespace{Name: fmt.Sprintf("clara-push-%d-%d-%s", os.Getpid(), namespaces.Add(1), end), Addr: addr}
	if err := ip(ctx, "netns", "add", n.Name); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *Namespace) remove() error {
	return ip(context.Background(), "netns", "del", n.Name)
}

// Words returns the words to put before a command line so that it runs in the namespace.
func (n *Namespace) Words() []string { return []string{"ip", "netns", "exec", n.Name} }

// Command prepares a command that runs in the namespace. Its process ID is that of the program itself.
func (n *Namespace) Command(ctx context.Context, argv ...string) *exec.Cmd {
	words := append(n.Words(), argv...)
	return exec.CommandContext(ctx, words[0], words[1:]...)
}

// Do calls f on a thread that is in the namespace: sockets that f itself opens belong there. Goroutines that f starts
// are not in the namespace.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error)
	go func() {
		// The thread is never unlocked, so it ends with the goroutine and no other one runs in the namespace.
		runtime.LockOSThread()
		fd, err := unix.Open(filepath.Join("/run/netns", n.Name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- fmt.Errorf("open namespace %s: %w", n.Name, err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter namespace %s: %w", n.Name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Dial connects to an IP address and port from within the namespace.
func (n *Namespace) Dial(ctx context.Context, addr string) (conn net.Conn, err error) {
	err = n.Do(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp4", addr)
		return err
	})
	return conn, err
}

// Listen listens on an IP address and port within the namespace.
func (n *Namespace) Listen(ctx context.Context, addr string) (ln net.Listener, err error) {
	err = n.Do(func() error {
		ln, err = new(net.ListenConfig).Listen(ctx, "tcp4", addr)
		return err
	})
	return ln, err
}

// sysctl sets a network parameter of the namespace.
func (n *Namespace) sysctl(name, value string) error {
	return n.Do(func() error {
		// Files below /proc/sys/net show the namespace of the thread that opens them.
		return os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0o644)
	})
}

func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// removeDead removes the namespaces of processes that were killed before they could do so.
func removeDead(ctx context.Context) error {
	names, err := filepath.Glob("/run/netns/clara-push-*")
	if err != nil {
		return err
	}
	for _, path := range names {
		var pid, number int
		name := filepath.Base(path)
		if _, err := fmt.Sscanf(name, "clara-push-%d-%d-", &pid, &number); err != nil {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); os.IsNotExist(err) {
			if err := ip(ctx, "netns", "del", name); err != nil {
				return err
			}
		}
	}
	return nil
}
