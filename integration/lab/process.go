//go:build linux

package lab

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is a child of ours that runs until it is stopped. Its output goes to a file in the lab's log folder.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; valid once done is closed
}

// start runs argv in a process group of its own. It ends with us even when we are killed.
func (l *Lab) start(name string, env []string, argv ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(l.Dir, "log", name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append(env, marker+"="+l.Dir)
	p.cmd.Dir = "/"
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := spawn(p.cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// alive is running for a process that may be nil.
func (p *process) alive() bool { return p != nil && p.running() }

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stop asks the process to end, waits, and kills its group when it does not. A process that has ended is no error.
func (p *process) stop(grace time.Duration) error {
	if p == nil {
		return nil
	}
	if p.running() {
		_ = syscall.Kill(p.pid(), syscall.SIGTERM) // it may have ended just now
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		return p.kill()
	}
}

// kill ends the process group at once and waits until the process is gone.
func (p *process) kill() error {
	if p == nil {
		return nil
	}
	if p.running() {
		_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(20 * time.Second):
		return fmt.Errorf("%s (pid %d) does not end", p.name, p.pid())
	}
}

// await polls ready until it returns nil. It fails, with the end of the log, when the process ends or time is over.
func (p *process) await(limit time.Duration, ready func() error) error {
	var last error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		if last = ready(); last == nil {
			return nil
		}
		if !p.running() {
			return fmt.Errorf("%s ended at start: %w\n%s", p.name, cmp.Or(p.err, errors.New("exit status 0")), p.tail())
		}
	}
	return errors.Join(fmt.Errorf("%s is not ready after %v: %w\n%s", p.name, limit, last, p.tail()), p.kill())
}

// tail returns the last lines of the log.
func (p *process) tail() string {
	b, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// spawn starts a command from a thread that lives as long as we do. The parent-death signal is sent when the thread
// that forked ends, not the process, and threads of goroutines may end at any time.
func spawn(cmd *exec.Cmd) error {
	spawnOnce.Do(func() {
		go func() {
			runtime.LockOSThread()
			for r := range spawnQueue {
				r.err <- r.cmd.Start()
			}
		}()
	})
	r := spawnRequest{cmd, make(chan error)}
	spawnQueue <- r
	return <-r.err
}

type spawnRequest struct {
	cmd *exec.Cmd
	err chan error
}

var (
	spawnOnce  sync.Once
	spawnQueue = make(chan spawnRequest)
)
