package transfer

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/dial"
)

// Of a target on this machine nothing is said that holds for a wire and a stage only.
func TestWordsForThisMachine(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for _, tt := range []struct {
		dst  Target
		verb string
		kept bool
	}{{&SSH{}, "to send", true}, {&Local{}, "to read", false}} {
		here := isHere(tt.dst)
		var f *manifest.Failure
		if !errors.As(stopped(ctx, context.Canceled, here), &f) || strings.Contains(f.Hint, "kept") != tt.kept || strings.Contains(f.Error(), "the host") != tt.kept {
			t.Errorf("%T: it says %q, the hint is %q", tt.dst, f.Error(), f.Hint)
		}
		if text := describe(manifest.Plan{Sizes: manifest.Sizes{Staged: 1}}, here); !strings.Contains(text, tt.verb) || strings.Contains(text, "sent before") != tt.kept {
			t.Errorf("%T: the plan reads %q", tt.dst, text)
		}
	}
}

// lostTarget loses the connection in Apply, past the commit point or before, and is not heard of again.
type lostTarget struct {
	Target
	lost  error
	asked int
}

func (l *lostTarget) Platform() manifest.Platform {
	return manifest.Platform{OS: "linux", Architecture: "amd64"}
}

func (l *lostTarget) Inventory(ctx context.Context, _ manifest.Query) (manifest.Inventory, error) {
	if l.asked++; l.asked > 1 {
		<-ctx.Done()
		return manifest.Inventory{}, manifest.Fail(manifest.KindConnect, "connect", "no answer: %w", ctx.Err())
	}
	// What is left in the stage makes even an empty plan one that is applied.
	return manifest.Inventory{Staged: []manifest.Staged{{}}}, nil
}

func (l *lostTarget) Apply(context.Context, manifest.Plan, Source, manifest.Events) (manifest.Receipt, error) {
	return manifest.Receipt{}, l.lost
}

type noSource struct{ Source }

func (noSource) Artifacts(context.Context, manifest.Platform) (manifest.Artifacts, error) {
	return manifest.Artifacts{}, nil
}

// A host that was lost past its commit point may have changed: nobody may be told that it has not.
func TestPushGivenUpPastTheCommitPoint(t *testing.T) {
	lost := manifest.Fail(manifest.KindConnect, "", "lost the connection")
	for _, tt := range []struct {
		name string
		lost error
		want manifest.Kind
	}{
		{"past it", pastCommit{lost}, manifest.KindUnknown},
		{"before it", lost, manifest.KindInterrupted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			retry := func(e manifest.Event) {
				if e.Step == manifest.StepRetry {
					stop()
				}
			}
			_, err := Push(ctx, noSource{}, &lostTarget{lost: tt.lost}, Options{Events: retry})
			if manifest.KindOf(err) != tt.want {
				t.Errorf("got %v of kind %s, want %s", err, manifest.KindOf(err), tt.want)
			}
		})
	}
}

// brokenSource is a registry that cannot be reached any more.
type brokenSource struct{ Source }

func (brokenSource) Artifacts(context.Context, manifest.Platform) (manifest.Artifacts, error) {
	return manifest.Artifacts{}, manifest.Fail(manifest.KindNotFound, "find image", "the registry has it no more")
}

func (brokenSource) Open(context.Context, manifest.Descriptor, int64) (manifest.BlobReader, error) {
	return nil, manifest.Fail(manifest.KindConnect, "read image", "the registry does not answer")
}

// TestFailuresOfTheSourceAreNotTheHosts shows that nobody is sent to the host for them, and that they end no connection.
func TestFailuresOfTheSourceAreNotTheHosts(t *testing.T) {
	host := &lostTarget{}
	_, err := Push(t.Context(), brokenSource{}, host, Options{})
	if err == nil || !strings.HasPrefix(manifest.On("gpu01", err).Error(), "this machine: find image") || host.asked != 0 {
		t.Errorf("%v, the host was asked %d times", err, host.asked)
	}
	if _, err = Push(t.Context(), brokenSource{}, &Local{}, Options{Platform: manifest.Platform{OS: "linux"}}); err == nil || !strings.HasPrefix(err.Error(), "find image") {
		t.Errorf("where there is no host: %v", err)
	}
	_, err = openUnhashed(t.Context(), brokenSource{}, manifest.Descriptor{}, 0)
	s := &SSH{first: &dial.Conn{}, lost: false}
	if s.lostBy(err); s.lost {
		t.Error("the connection to the host was given up")
	}
	if got := givenUp(err); !errors.Is(got, err) {
		t.Errorf("after many attempts: %v", got)
	}
}
