//go:build linux

package loader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// An Owner says who holds a lock.
type Owner struct {
	From    string    `json:"from"`    // user@machine
	Session string    `json:"session"` // of the push; whoever shows it again may take over
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
}

// A Lock is held until Release, or until its process ends.
type Lock struct {
	file   *os.File
	beside *Lock // of the repository; nil without one
	// Waited tells that somebody else held the lock first, or had left something in the middle, so that what was known before
	// may be stale.
	Waited bool
}

// Lock takes the lock on this host's engine and stage for one push at a time, and on the repository when it has one. While
// another push of the same session holds it, that one is asked to end; for anybody else's it waits up to wait and then
// fails with KindLocked. What that one left in the middle is completed.
func (h *Host) Lock(ctx context.Context, o Owner, wait time.Duration, ev manifest.Events) (*Lock, error) {
	l, err := h.lock(ctx, o, wait, ev)
	if err != nil {
		return nil, err
	}
	completed, err := h.goForward(ctx)
	if err == nil && h.models.usable() == nil {
		err = h.models.settled()
	}
	if err != nil && manifest.KindOf(err) != manifest.KindStale {
		l.Release()
		return nil, err
	}
	l.Waited = l.Waited || completed || err != nil
	return l, nil
}

func (h *Host) lock(ctx context.Context, o Owner, wait time.Duration, ev manifest.Events) (*Lock, error) {
	l, err := lockFile(ctx, filepath.Join(h.dir, "lock"), o, wait, ev)
	if err != nil || h.models.usable() != nil {
		return l, err
	}
	if l.beside, err = lockFile(ctx, h.models.lockPath(), o, wait, ev); err != nil {
		l.Release()
		return nil, err
	}
	l.Waited = l.Waited || l.beside.Waited
	return l, nil
}

// Stale fails with KindStale when somebody else held the lock first.
func (l *Lock) Stale() error {
	if l.Waited {
		return manifest.Fail(manifest.KindStale, "lock", "another push ended meanwhile")
	}
	return nil
}

func lockFile(ctx context.Context, path string, o Owner, wait time.Duration, ev manifest.Events) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fileFailure("lock", err)
	}
	l := &Lock{file: f}
	if err := l.acquire(ctx, o, wait, ev); err != nil {
		f.Close()
		return nil, err
	}
	if err := l.sign(o); err != nil {
		f.Close()
		return nil, stageFailure("lock", err)
	}
	return l, nil
}

// tryLock takes the lock file at path if nobody holds it; nil when somebody does.
func tryLock(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fileFailure("lock", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, nil //nolint:nilerr // that somebody holds it is an answer
	}
	return &Lock{file: f}, nil
}

func (l *Lock) acquire(ctx context.Context, o Owner, wait time.Duration, ev manifest.Events) error {
	deadline := time.Now().Add(wait)
	pause := 20 * time.Millisecond
	for told := false; ; {
		err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return stageFailure("lock", err)
		}
		l.Waited = true
		holder := l.holder()
		mine := holder.Session != "" && holder.Session == o.Session
		if mine {
			askToEnd(holder)
		} else if time.Now().After(deadline) {
			return locked(holder, wait)
		}
		if !told {
			told = true
			ev.Say(manifest.StepWait, "", waiting(holder, mine))
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// askToEnd tells the agent of a connection that was lost to end; past its commit point it finishes first.
func askToEnd(o Owner) {
	if o.PID > 1 && o.PID != os.Getpid() {
		_ = syscall.Kill(o.PID, syscall.SIGTERM)
	}
}

func waiting(o Owner, mine bool) string {
	if mine {
		return "the agent of the lost connection is still at work; waiting for it to end"
	}
	return fmt.Sprintf("%s is pushing%s; waiting for it to end", o.From, since(o, time.TimeOnly))
}

// since reads " since 14:05:01"; empty where the holder has not signed yet, or never does because it only completes something.
func since(o Owner, layout string) string {
	if o.Since.IsZero() {
		return ""
	}
	return " since " + o.Since.Local().Format(layout)
}

func locked(o Owner, wait time.Duration) error {
	return manifest.Fail(manifest.KindLocked, "lock", "%s is pushing to this host%s", o.From, since(o, time.RFC3339)).
		Advise("wait for it, or give it longer with --lock-timeout (it was %s)", wait)
}

// holder reads who signed the lock; it may be the one before when the lock changed hands this moment.
func (l *Lock) holder() Owner {
	buf := make([]byte, 4096)
	n, _ := l.file.ReadAt(buf, 0)
	var o Owner
	if json.Unmarshal(buf[:n], &o) != nil || o.From == "" {
		o.From = "another clara-push"
	}
	return o
}

func (l *Lock) sign(o Owner) error {
	o.PID, o.Since = os.Getpid(), time.Now()
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err = l.file.WriteAt(raw, 0)
	return err
}

// Release lets the lock go. It may be called twice.
func (l *Lock) Release() {
	if l.beside != nil {
		l.beside.Release()
	}
	_ = l.file.Truncate(0)
	_ = l.file.Close()
}
