//go:build linux

package integration

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/integration/link"
)

// Must show 4: whenever client or agent are killed, the live tree is wholly old or wholly new; with renames it may also be
// absent until the next start. The next run succeeds and leaves nothing behind. CLARA_PUSH_SEED chooses other moments.
func TestModelKilledAnywhere(t *testing.T) {
	t.Parallel()
	rounds := 6
	if full() {
		rounds = 100
	}
	for _, exchange := range []bool{true, false} {
		t.Run(map[bool]string{true: "exchange", false: "renames"}[exchange], func(t *testing.T) {
			o := lab.SSHDOptions{}
			if !exchange {
				o.Env = map[string]string{"CLARA_PUSH_NO_EXCHANGE": "1"}
			}
			m := newModels(t, o, 0)
			s := &striking{models: m, exchange: exchange}
			s.prepare()
			r := rand.New(rand.NewPCG(campaignSeed(t), uint64(rounds)))
			for n := range rounds {
				at := time.Duration(r.Float64() * 1.05 * float64(s.took))
				agents := n%2 == 1
				t.Run(fmt.Sprintf("%d at %v, agents %v", n, at.Round(time.Millisecond), agents), func(t *testing.T) {
					m.t = t
					s.strike(at, agents)
				})
			}
			t.Logf("old %d, new %d, absent until the next start %d", s.old, s.new, s.absent)
		})
	}
}

// striking is a campaign of kills against pushes of one model.
type striking struct {
	*models
	exchange         bool
	dirs             [2]string // two states of the model, in turn
	sums             [2]map[string]string
	state            int           // which one the host has
	took             time.Duration // a push that nothing disturbs
	old, new, absent int
}

func (s *striking) prepare() {
	source := s.Source
	for n := range s.dirs {
		s.Source = fmt.Sprintf("%s/%d", source, n)
		files := map[string]content{"config.pbtxt": config(fmt.Sprint("state ", n)), "1/empty/": {}}
		for f := range 200 {
			files[fmt.Sprintf("1/small/%03d", f)] = random(2000, uint64(1000*n+f))
		}
		files["1/big.bin"], files["2/same.bin"] = random(9<<20, uint64(n)), random(3<<20, 77)
		s.dirs[n] = s.files("m", files)
		r := s.placed(s.dirs[n])
		s.took = r.Took
		s.sums[n] = sums(s.t, s.live("m"), true)
	}
	s.state = 1
	line := newLine(s.t, s.Host.Addr, link.Options{Rate: lineRate})
	s.proxy, s.Addr = line, line.Addr
	s.took = s.placed(s.dirs[0]).Took
	s.state = 0
}

func (s *striking) strike(at time.Duration, agents bool) {
	t := s.t
	next := 1 - s.state
	r := s.start("model", "--json", "--repository", s.Repo, s.dirs[next], "target")
	time.Sleep(at)
	if agents {
		killAll(agentsOf(s.Host))
	} else {
		r.Cmd.Process.Kill()
	}
	r.wait()
	for end := time.Now().Add(lastBreath); len(agentsOf(s.Host)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("an agent outlives its client")
		}
	}
	s.look(next)
	again := s.model(s.dirs[next])
	again.exits(t, 0)
	if got := sums(t, s.live("m"), true); !maps.Equal(got, s.sums[next]) {
		t.Errorf("after the next run the tree is not the new one: %v", got)
	}
	s.state = next
	s.tidy("m")
	if kept, _ := os.ReadDir(s.own("old", "m")); len(kept) > 2 { // the last one, and that there was nothing at first
		t.Errorf("%d former states are kept", len(kept))
	}
}

// look checks what a server would see before anybody starts again.
func (s *striking) look(next int) {
	if !exists(s.live("m")) {
		s.absent++
		if s.exchange {
			s.t.Error("the model is absent")
		}
		return
	}
	switch got := sums(s.t, s.live("m"), true); {
	case maps.Equal(got, s.sums[s.state]):
		s.old++
	case maps.Equal(got, s.sums[next]):
		s.new++
	default:
		s.t.Errorf("the live tree is a mix: %v", got)
	}
}

// A push that was cut off goes on: what has arrived does not travel again.
func TestModelResumes(t *testing.T) {
	t.Parallel()
	m := newModels(t, lab.SSHDOptions{}, 0)
	dir := m.files("m", map[string]content{"config.pbtxt": config("c"), "1/a.bin": random(16<<20, 1), "1/b.bin": random(16<<20, 2), "2/c": random(100<<10, 3)})
	run := m.start("model", "--limit-rate", "8M", "--repository", m.Repo, dir, "target")
	run.sent(20<<20, time.Minute)
	run.Cmd.Process.Kill()
	first := run.wait()
	if exists(m.live("m")) {
		t.Error("the model is there before it was whole")
	}
	second := m.placed(dir)
	if total := first.Up + second.Up; total > 33<<20+6*4<<20 {
		t.Errorf("%s travelled in two runs", mb(total))
	}
	if second.Summary.Bytes.Staged < 8<<20 {
		t.Errorf("%d bytes were taken up", second.Summary.Bytes.Staged)
	}
	m.tidy("m")
}

// What a push that failed has left is removed by clean, once nobody holds it.
func TestModelClean(t *testing.T) {
	t.Parallel()
	m := newModels(t, lab.SSHDOptions{}, 0)
	dir := m.files("m", map[string]content{"config.pbtxt": config("c"), "1/a.bin": random(12<<20, 1)})
	run := m.start("model", "--limit-rate", "8M", "--repository", m.Repo, dir, "target")
	run.sent(9<<20, time.Minute)
	run.Cmd.Process.Kill()
	run.wait()
	for end := time.Now().Add(lastBreath); len(agentsOf(m.Host)) > 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	if left, _ := os.ReadDir(m.own("files")); len(left) == 0 {
		t.Fatal("nothing is staged")
	}
	r := m.run("clean", "--repository", m.Repo, "target")
	r.exits(t, 0)
	r.says(t, "freed")
	m.tidy()
	m.placed(dir)
}
