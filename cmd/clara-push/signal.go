package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// signalled is why a context ended: somebody sent this signal.
type signalled struct{ os.Signal }

func (s signalled) Error() string {
	return "interrupted by " + map[os.Signal]string{os.Interrupt: "SIGINT", syscall.SIGTERM: "SIGTERM"}[s.Signal]
}

// timedOut is why a context ended: --timeout.
type timedOut time.Duration

func (t timedOut) Error() string {
	return fmt.Sprintf("not finished after %s (--timeout)", time.Duration(t))
}

// onSignal returns a context that the first SIGINT or SIGTERM cancels, after telling so; the second one ends the program
// at once, as if we did not catch it. A signal that the program was started to ignore, as nohup does, stays ignored.
func onSignal(parent context.Context, tell func()) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	// Writing to a closed stdout must not end a push; a handler, unlike an ignored signal, is not inherited by ssh.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	caught := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	go func() {
		select {
		case s := <-caught:
			signal.Stop(caught)
			cancel(signalled{s})
			tell()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(caught)
		cancel(nil)
	}
}

// within runs f with a limit on its time; 0 is none.
func within(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, timedOut(limit))
		defer cancel()
	}
	return settle(ctx, f(ctx))
}

// settle says of an error that came because ctx ended why ctx ended. Errors of another kind stay what they are: above all
// KindUnknown, when the engine was at work already.
func settle(ctx context.Context, err error) error {
	var sig signalled
	var limit timedOut
	cause := context.Cause(ctx)
	switch kind := manifest.KindOf(err); {
	case err == nil || cause == nil || kind == manifest.KindUnknown:
		return err
	case kind != manifest.KindInterrupted && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(cause, &sig):
		return because(err, manifest.KindInterrupted, sig)
	case errors.As(cause, &limit):
		return because(err, manifest.KindConnect, limit)
	case kind == manifest.KindInternal:
		return because(err, manifest.KindInterrupted, cause)
	}
	return err
}

// because keeps of err what it says beside the mere end of a context.
func because(err error, kind manifest.Kind, why error) error {
	g := &manifest.Failure{Kind: kind, Err: why}
	var f *manifest.Failure
	if !errors.As(err, &f) {
		return g
	}
	g.Host, g.Step, g.Hint = f.Host, f.Step, f.Hint
	if f.Kind == kind {
		g.Err = told{f.Err, why}
	}
	return g
}

// told is an error in the words of the one who met it, and its cause.
type told struct {
	error
	cause error
}

func (t told) Unwrap() []error { return []error{t.error, t.cause} }
