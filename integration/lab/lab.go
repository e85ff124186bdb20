//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// prefix begins the name of every lab's folder; the sweep of dead labs looks for it.
const prefix = "clara-push-lab-"

// marker is the environment variable that every process of a lab carries. Its value is the lab's folder. It finds the
// processes that outlive their parents: container shims, agents whose connection was cut.
const marker = "CLARA_PUSH_LAB"

// Options say where a lab lives. The zero value works.
type Options struct {
	Dir string    // parent of the lab's folder; default $CLARA_PUSH_LAB_DIR, else the system's temporary folder
	Log io.Writer // one line per part that starts or stops; default none
}

// A Lab owns the processes, mounts and files of its parts. Its methods may be called from several goroutines.
type Lab struct {
	Dir string // the lab's own folder; free for use by tests, removed by Close

	log     io.Writer
	mu      sync.Mutex
	names   map[string]int
	closers []func() error // in order of creation, called in reverse
	closed  bool
}

// Start makes the folder of a new lab and sweeps what dead labs left in the same parent. No part runs yet.
func Start(ctx context.Context, o Options) (*Lab, error) {
	parent := o.Dir
	if parent == "" {
		parent = os.Getenv("CLARA_PUSH_LAB_DIR")
	}
	if parent == "" {
		parent = os.TempDir()
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	if err := sweepDead(ctx, parent, o.Log); err != nil {
		return nil, fmt.Errorf("sweep dead labs: %w", err)
	}
	dir, err := makeFolder(parent)
	if err != nil {
		return nil, err
	}
	return &Lab{Dir: dir, log: o.Log, names: map[string]int{}}, nil
}

// StartTest starts a lab for a test or benchmark and closes it at its end.
func StartTest(t testing.TB) *Lab {
	t.Helper()
	l, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatalf("start lab: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	return l
}

// makeFolder makes the lab's folder, readable for the users of its hosts, with the owner's name in it.
func makeFolder(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return "", fmt.Errorf("make lab folder: %w", err)
	}
	// A socket path has at most 107 bytes, and ours need 40 below the folder.
	if len(dir) > 64 {
		os.Remove(dir)
		return "", fmt.Errorf("make lab folder: %s is too long for sockets below it: choose a shorter folder with CLARA_PUSH_LAB_DIR", dir)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	if err := writeOwner(dir); err != nil {
		return "", err
	}
	return dir, os.Mkdir(filepath.Join(dir, "log"), 0o755)
}

// Close stops all parts, last one first, unmounts what they mounted and removes the folder. It may be called twice.
func (l *Lab) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	closers := l.closers
	l.mu.Unlock()

	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		errs = append(errs, closers[i]())
	}
	errs = append(errs, removeLab(l.Dir))
	return errors.Join(errs...)
}

// onClose registers f to be called by Close. After Close it is called at once.
func (l *Lab) onClose(f func() error) {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.closers = append(l.closers, f)
	}
	l.mu.Unlock()
	if closed {
		_ = f()
	}
}

// folder makes a new folder for a part: "docker2010", then "docker2010-2" and so on.
func (l *Lab) folder(kind string) (dir, name string, err error) {
	l.mu.Lock()
	l.names[kind]++
	name = kind
	if n := l.names[kind]; n > 1 {
		name = fmt.Sprintf("%s-%d", kind, n)
	}
	l.mu.Unlock()
	dir = filepath.Join(l.Dir, name)
	return dir, name, os.Mkdir(dir, 0o755)
}

// Logf writes one line to the lab's log.
func (l *Lab) Logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.log, "lab: "+format+"\n", args...)
}
