package triton

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Want is what a server shall serve after a model was placed.
type Want struct {
	Model string
	// Versions are those that the model's version policy serves.
	Versions []int64
	// Before is what States told before the model was placed.
	Before []VersionState
	// Limit is how long to wait; 0 stands for DefaultLimit.
	Limit time.Duration
}

// DefaultLimit is how long Take waits for a model: large ones take a minute from a cold disk.
const DefaultLimit = 2 * time.Minute

// askEvery is the time between two looks at a model's state.
const askEvery = 250 * time.Millisecond

// Taken says how it is known that a server has a model.
type Taken string

// What Take found.
const (
	// TakenReady: the server serves what was placed.
	TakenReady Taken = "ready"
	// TakenUnseen: the server serves the versions, and served them before. Whether it has read the new files cannot be
	// observed: it loads by itself, and shows no sign of it while a version keeps its number.
	TakenUnseen Taken = "placed; reload not observable"
)

// Take makes the server load a model that was placed, now or earlier, where it takes orders, and waits until all of
// w.Versions are ready. A server that has read these very files already goes on with them: it looks at their times.
// The error is a KindServer failure with the server's reason, or ctx's error.
func (s *Server) Take(ctx context.Context, w Want) (Taken, error) {
	if w.Limit <= 0 {
		w.Limit = DefaultLimit
	}
	within, cancel := context.WithTimeoutCause(ctx, w.Limit, errLimit)
	defer cancel()
	t := &taking{server: s, want: w}
	taken, err := t.run(within)
	if err != nil && errors.Is(context.Cause(within), errLimit) {
		return "", t.late()
	}
	return taken, err
}

var errLimit = errors.New("the limit for the server is over")

// taking is a Take at work.
type taking struct {
	server *Server
	want   Want
	orders bool           // the server takes orders
	asked  bool           // the order was given, and the answer is not there
	last   []VersionState // what it said last
}

func (t *taking) run(ctx context.Context) (Taken, error) {
	wasReady := allReady(t.want.Before, t.want.Versions)
	t.asked = true // also of a model that was there already: whether it was read since it was placed, only the server knows
	err := t.server.Load(ctx, t.want.Model)
	t.asked = err != nil && ctx.Err() != nil
	switch {
	case err == nil:
		t.orders = true
	case !errors.Is(err, ErrNotExplicit):
		return "", err
	case wasReady:
		return t.await(ctx, TakenUnseen)
	}
	return t.await(ctx, TakenReady)
}

// await returns what when all versions are ready.
func (t *taking) await(ctx context.Context, what Taken) (Taken, error) {
	for {
		states, err := t.server.States(ctx, t.want.Model)
		if err != nil {
			return "", err
		}
		t.last = states
		if allReady(states, t.want.Versions) {
			confirmed, err := t.confirm(ctx)
			if confirmed || err != nil {
				return what, err
			}
		}
		if bad, ok := t.failed(states); ok {
			return "", manifest.Fail(manifest.KindServer, "load "+t.want.Model, "Triton cannot serve version %d: %s", bad.Version, because(bad)).
				Advise("the server's log tells more")
		}
		select {
		case <-time.After(askEvery):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// confirm asks for each version directly.
func (t *taking) confirm(ctx context.Context) (bool, error) {
	for _, v := range t.want.Versions {
		ok, err := t.server.api.ready(ctx, t.want.Model, v)
		if err != nil {
			return false, t.server.unreachable(ctx, "ask Triton", err)
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

// failed finds a version that the server has given up. One that does not take orders tries again when it looks next, so only
// what it did not say before the model was placed is about the new files.
func (t *taking) failed(states []VersionState) (VersionState, bool) {
	for _, v := range t.want.Versions {
		now := stateOf(states, v)
		news := t.orders || now != stateOf(t.want.Before, v)
		if now.State == StateUnavailable && news && !goneOnPurpose(now) {
			return now, true
		}
	}
	return VersionState{}, false
}

// goneOnPurpose tells that a version is not there because nobody wants it, which can change at any moment.
func goneOnPurpose(v VersionState) bool { return v.Reason == "unloaded" }

// late says that the limit is over, and what is known.
func (t *taking) late() error {
	f := manifest.Fail(manifest.KindServer, "wait for "+t.want.Model, "Triton does not serve %s after %s: %s",
		versionsText(t.want.Versions), t.want.Limit, t.found())
	if !t.orders && !t.asked && slices.Equal(t.last, t.want.Before) {
		return f.Advise("the server takes no orders and has not looked at the repository since: started with --model-control-mode=none, " +
			"it takes the model only after a restart; when it polls less often, raise --triton-timeout")
	}
	return f.Advise("raise --triton-timeout if the model loads slowly; the server's log tells more")
}

func (t *taking) found() string {
	if t.asked {
		return "it was told to load it, and has not answered"
	}
	var parts []string
	for _, v := range t.want.Versions {
		if s := stateOf(t.last, v); s.State != StateReady {
			parts = append(parts, fmt.Sprintf("version %d is %s", v, because(s)))
		}
	}
	if len(parts) == 0 {
		return "it calls them ready, and does not answer for them"
	}
	return strings.Join(parts, "; ")
}

func because(v VersionState) string {
	switch {
	case v.Reason != "":
		return v.Reason
	case v.State == "":
		return "not known to it"
	}
	return strings.ToLower(string(v.State))
}

func versionsText(versions []int64) string {
	text := "version"
	if len(versions) != 1 {
		text = "versions"
	}
	for i, v := range versions {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(" %d", v)
	}
	return text
}

func stateOf(states []VersionState, version int64) VersionState {
	i := slices.IndexFunc(states, func(s VersionState) bool { return s.Version == version })
	if i < 0 {
		return VersionState{Version: version}
	}
	return states[i]
}

// allReady is false when nothing is wanted: then nothing can be known.
func allReady(states []VersionState, versions []int64) bool {
	return len(versions) > 0 && !slices.ContainsFunc(versions, func(v int64) bool { return stateOf(states, v).State != StateReady })
}
