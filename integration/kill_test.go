//go:build linux

package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
)

// A blow is something that happens to a push at some moment.
type blow struct {
	name   string
	strike func(t *testing.T, s *site, r *running)
}

var blows = []blow{
	{"kill -9 of the client", func(_ *testing.T, _ *site, r *running) { r.Cmd.Process.Kill() }},
	{"SIGINT", func(_ *testing.T, _ *site, r *running) { r.Cmd.Process.Signal(os.Interrupt) }},
	{"SIGTERM", func(_ *testing.T, _ *site, r *running) { r.Cmd.Process.Signal(syscall.SIGTERM) }},
	{"kill -9 of the connections' sshd", func(_ *testing.T, s *site, _ *running) { killAll(s.Host.Connections()) }},
	{"kill -9 of the agents", func(_ *testing.T, s *site, _ *running) { killAll(s.agents()) }},
	{"cut of the line", func(_ *testing.T, s *site, _ *running) { s.line.Cut() }},
	{"kill -9 of client and agents", func(_ *testing.T, s *site, r *running) {
		r.Cmd.Process.Kill()
		killAll(s.agents())
	}},
	{"kill -9 of the engine", func(t *testing.T, s *site, _ *running) {
		if err := s.Host.Engine.Kill(); err != nil {
			t.Fatal(err)
		}
	}},
}

// Whatever happens to a push, and whenever: the name means the old image or the new one, wholly; the next push succeeds;
// and then nothing is left over. CLARA_PUSH_SEED chooses other moments.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	kinds, rounds := []lab.Kind{lab.Docker2010, lab.ModernContainerd}, 4
	if full() {
		kinds, rounds = lab.Dockers, 34
	}
	seed := campaignSeed(t)
	for n, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			s := newSite(t, lab.Docker2010, k, lab.ImageSpec{
				Name: "killed:1", Base: lab.Layer{Content: lab.Half, Size: 12 << 20, Seed: uint64(720 + n)},
				Layers: []lab.Layer{{Content: lab.Half, Size: 12 << 20, Seed: uint64(730 + n)}, {Content: lab.Random, Size: 6 << 20, Seed: uint64(740 + n)}},
			})
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			for round := range rounds {
				b := blows[(n*rounds+round)%len(blows)]
				m := moment(r.Float64() * 3)
				t.Run(fmt.Sprintf("%s at %v", b.name, m), func(t *testing.T) { s.struck(t, b, m) })
			}
		})
	}
}

// A moment of a push: from 0 to 1 before the first chunk, to 2 while chunks travel, to 3 past the commit point.
type moment float64

func (m moment) String() string {
	phase := min(int(m), 2)
	return fmt.Sprintf("%.0f%% of the %s", 100*(float64(m)-float64(phase)), [...]string{"beginning", "bytes", "end"}[phase])
}

// await waits for the moment, or for the end of the push.
func (m moment) await(s *site, r *running) {
	switch {
	case m < 1:
		time.Sleep(time.Duration(float64(m) * float64(s.head)))
	case m < 2:
		r.sent(int64(float64(m-1)*float64(s.whole)), patience())
	case r.until(committed, patience()):
		time.Sleep(time.Duration(float64(m-2) * float64(s.tail)))
	}
}

func campaignSeed(t *testing.T) uint64 {
	seed := uint64(1)
	if v := os.Getenv("CLARA_PUSH_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("CLARA_PUSH_SEED: %v", err)
		}
	}
	t.Logf("CLARA_PUSH_SEED=%d", seed)
	return seed
}

// struck lets one blow hit a push.
func (s *site) struck(t *testing.T, b blow, m moment) {
	s.t = t
	s.reset(t)
	if m < 2 && int(m*100)%2 == 0 { // as when it is pushed for the first time
		os.RemoveAll(s.cache())
	}
	r := s.start("image", "--json", "-v", s.ref, "target")
	m.await(s, r)
	b.strike(t, s, r)
	first := r.wait()
	if _, err := s.Host.Engine.Docker(t.Context(), "version"); err != nil {
		if err := s.Host.Engine.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	version := s.oneOf(t)
	if first.Exit == 0 && version != "new" {
		t.Errorf("it ended with 0, and the name means the old image\n%s", first.Stderr)
	}
	second := s.pushed("-v", s.ref)
	s.means(t, "new")
	s.settled(t)
	t.Logf("ended with %d after %v, %s sent, then the name meant the %s image; the next run sent %s",
		first.Exit, first.Took.Round(time.Millisecond), mb(first.Up), version, mb(second.Up))
	if second.Up > s.whole+slack() {
		t.Errorf("the next run sent %s, %s is the whole", mb(second.Up), mb(s.whole))
	}
}
