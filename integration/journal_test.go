//go:build linux

package integration

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/pkg/loader"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer"
)

// stops ends a goroutine of its own, as if the process was killed, right before its n-th name is moved or model placed.
func stops(n int, run func(ev manifest.Events)) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run(func(e manifest.Event) {
			if e.Step == manifest.StepTag || e.Step == manifest.StepPlace {
				if n--; n < 0 {
					runtime.Goexit()
				}
			}
		})
	}()
	<-ended
}

// bearing tells which of releases each of the three things is, in the order in which they flip: "010" for the image one:1 and
// the model of the first, and two:1 of the second.
func (p *place) bearing(releases ...*shelf) string {
	p.t.Helper()
	text := ""
	for n, ref := range []string{"one:1", "two:1"} {
		img, err := p.api.Image(p.t.Context(), ref, manifest.Platform{})
		must(p.t, err)
		text += which(releases, func(s *shelf) bool {
			return s.artifacts.Images[n].Config.Digest == img.Config.Digest && len(img.Missing) == 0
		})
	}
	live := sums(p.t, filepath.Join(p.repo, "seg"), false)
	return text + which(releases, func(s *shelf) bool {
		same := true
		for _, f := range s.artifacts.Models[0].Files {
			same = same && live[f.Path] == f.Digest.Encoded()
		}
		return same
	})
}

func which(releases []*shelf, is func(*shelf) bool) string {
	for n, s := range releases {
		if is(s) {
			return fmt.Sprint(n)
		}
	}
	return "?"
}

// crashes runs f for every moment at which a push of three things can die between two of them, on each kind of store; then
// the first n are new and the others old, and nobody has looked since.
func crashes(t *testing.T, f func(t *testing.T, p *place, n int, old, new *shelf, state string)) {
	for _, kind := range []lab.Kind{lab.Docker2010, lab.ModernContainerd} {
		for n := range 3 {
			t.Run(fmt.Sprintf("%s %d", kind, n), func(t *testing.T) {
				p := newPlace(t, kind, "local")
				releases, state := p.releases(), t.TempDir()
				p.open = func() (transfer.Target, error) {
					return transfer.OpenLocal(t.Context(), transfer.LocalOptions{StateDir: state, EngineHost: p.engine.Host(), Repository: p.repo, Version: "test"})
				}
				p.pushed(releases[0], manifest.Options{Keep: 1})
				target, err := p.open()
				must(t, err)
				stops(n, func(ev manifest.Events) {
					_, _ = transfer.Push(t.Context(), releases[1], target, transfer.Options{Plan: manifest.Options{Keep: 1}, Events: ev})
				})
				target.Close() // lets go of the lock, as the end of a process does
				if got, want := p.bearing(releases[0], releases[1]), strings.Repeat("1", n)+strings.Repeat("0", 3-n); got != want {
					t.Errorf("it died with %s, want %s", got, want)
				}
				f(t, p, n, releases[0], releases[1], state)
			})
		}
	}
}

func TestJournalIsCompleted(t *testing.T) {
	crashes(t, func(t *testing.T, p *place, n int, old, new *shelf, _ string) {
		s := p.drifts(",,")
		if got := p.bearing(old, new); got != "111" {
			t.Errorf("after the next start they are %s", got)
		}
		if len(s.Warnings) == 0 || !strings.Contains(s.Warnings[0], "completed by the next start") || s.Images[0].From == nil || s.Images[0].From.Version != "1.1" {
			t.Errorf("status %+v", s)
		}
		r, err := p.back(manifest.Selection{})
		must(t, err)
		if got := p.bearing(old, new); got != "000" || len(r.Images) != 2 || len(r.Models) != 1 {
			t.Errorf("after a rollback they are %s; receipt %+v", got, r)
		}
	})
}

// What somebody has moved meanwhile is left alone and said; the rest is completed.
func TestJournalLeavesWhatWasMoved(t *testing.T) {
	crashes(t, func(t *testing.T, p *place, n int, old, new *shelf, state string) {
		docker(t, p.engine, "tag", "one:1", "two:1")
		h, err := loader.Open(t.Context(), loader.Options{EngineHost: p.engine.Host(), StateDir: state, Repository: p.repo})
		must(t, err)
		defer h.Close()
		r, err := h.LastReceipt()
		must(t, err)
		if !r.Completed || len(r.Images) != 1 || len(r.Models) != 1 || !strings.Contains(strings.Join(r.Warnings, " "), "two:1 was left in the middle") {
			t.Errorf("receipt %+v", r)
		}
		if got := p.bearing(old, new); got[:1]+got[2:] != "11" {
			t.Errorf("after the next start they are %s", got)
		}
	})
}

// A containerd store takes a name away before it gives it anew. An engine that dies in between leaves none.
func TestJournalGivesANameThatTheEngineLost(t *testing.T) {
	crashes(t, func(t *testing.T, p *place, n int, old, new *shelf, _ string) {
		docker(t, p.engine, "tag", "two:1", "dangling:1") // as the engine keeps an image that has no name any more
		docker(t, p.engine, "rmi", "two:1")
		s := p.drifts(",,")
		if got := p.bearing(old, new); got != "111" {
			t.Errorf("after the next start they are %s", got)
		}
		if text := strings.Join(s.Warnings, " "); !strings.Contains(text, "completed by the next start") || strings.Contains(text, "in the middle") {
			t.Errorf("it says: %s", text)
		}
	})
}
