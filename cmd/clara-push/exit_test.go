package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestExitCode(t *testing.T) {
	codes := map[manifest.Kind]int{
		manifest.KindInternal: 1, manifest.KindUsage: 2, manifest.KindPartial: 3, manifest.KindConnect: 10, manifest.KindAuth: 11,
		manifest.KindHostKey: 12, manifest.KindLocked: 13, manifest.KindSpace: 14, manifest.KindPermission: 15,
		manifest.KindEngine: 16, manifest.KindIntegrity: 17, manifest.KindPolicy: 18, manifest.KindMalformed: 19,
		manifest.KindUnknown: 20, manifest.KindNotFound: 21, manifest.KindModel: 22, manifest.KindServer: 23,
		manifest.KindDrift: 24, manifest.KindInterrupted: 130, manifest.KindStale: 1,
	}
	for kind, want := range codes {
		err := fmt.Errorf("around: %w", manifest.Fail(kind, "step", "why"))
		if got := exitCode(err); got != want {
			t.Errorf("%s ends with %d, want %d", kind, got, want)
		}
		if reserved := want >= 22 && want <= 24; !reserved && !strings.Contains(exitCodes, fmt.Sprintf("\n  %3d  ", want)) {
			t.Errorf("the help does not list %d", want)
		}
	}
	if got := exitCode(nil); got != 0 {
		t.Errorf("no error ends with %d", got)
	}
	if got := exitCode(errors.New("a defect")); got != 1 {
		t.Errorf("a foreign error ends with %d, want 1", got)
	}
	if got := exitCode(spoken(IO{}, 99)); got != exitNotSpoken {
		t.Errorf("an unknown protocol ends with %d, want %d", got, exitNotSpoken)
	}
}

// What an error means depends on why the context ended, and on whether it was too late.
func TestSettle(t *testing.T) {
	ended := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(context.Background())
		if cause != nil {
			cancel(cause)
		} else {
			t.Cleanup(func() { cancel(nil) })
		}
		return ctx
	}
	interrupted := manifest.Fail(manifest.KindInterrupted, "push", "interrupted; the host is unchanged").Advise("again")
	for _, tt := range []struct {
		name  string
		cause error
		err   error
		code  int
		text  string
	}{
		{"nothing happened", nil, nil, 0, ""},
		{"done in spite of a signal", signalled{os.Interrupt}, nil, 0, ""},
		{"SIGINT", signalled{os.Interrupt}, interrupted, 130, "the host is unchanged"},
		{"SIGTERM", signalled{syscall.SIGTERM}, interrupted, 143, "the host is unchanged"},
		{"SIGTERM, bare", signalled{syscall.SIGTERM}, context.Canceled, 143, "interrupted by SIGTERM"},
		{"too late", signalled{os.Interrupt}, manifest.Fail(manifest.KindUnknown, "push", "who knows"), 20, "who knows"},
		{"another failure first", signalled{os.Interrupt}, manifest.Fail(manifest.KindSpace, "push", "full"), 14, "full"},
		{"time", timedOut(time.Minute), context.DeadlineExceeded, 10, "not finished after 1m0s (--timeout)"},
		{"time, wrapped", timedOut(time.Minute), manifest.Fail(manifest.KindInterrupted, "connect", "x"), 10, "connect: not finished after 1m0s"},
		{"caller", context.Canceled, context.Canceled, 130, "canceled"},
		{"a defect", nil, context.Canceled, 1, "canceled"},
	} {
		err := settle(ended(tt.cause), tt.err)
		if code := exitCode(err); code != tt.code {
			t.Errorf("%s: %v ends with %d, want %d", tt.name, err, code, tt.code)
		}
		if tt.text != "" && (err == nil || !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%s: %v, want %q in it", tt.name, err, tt.text)
		}
		var f *manifest.Failure
		if tt.err == error(interrupted) && (!errors.As(err, &f) || f.Hint != "again") {
			t.Errorf("%s: the hint is lost: %v", tt.name, err)
		}
		if again := settle(ended(tt.cause), err); exitCode(again) != tt.code {
			t.Errorf("%s: settled twice it ends with %d", tt.name, exitCode(again))
		}
	}
}
