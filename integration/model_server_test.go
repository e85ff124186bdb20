//go:build linux

package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/integration/tritonserver"
)

// A served is a repository of models with a Triton that serves it, on the host's loopback.
type served struct {
	*models
	Triton *tritonserver.Server
}

// newServed starts a server of the repository. It complains when it loads a tree that is neither one state nor the other.
func newServed(t *testing.T, o tritonserver.Options) *served {
	t.Helper()
	m := newModels(t, lab.SSHDOptions{}, 0)
	return &served{m, m.serve(t, o)}
}

func (m *models) serve(t *testing.T, o tritonserver.Options) *tritonserver.Server {
	t.Helper()
	o.Check = oneState
	s, err := tritonserver.Start(m.Repo, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// state writes a model of two files in one state; every file says which.
func (m *models) state(name, state string, versions ...int) string {
	m.t.Helper()
	dir := m.local(name)
	if err := os.RemoveAll(dir); err != nil {
		m.t.Fatal(err)
	}
	files := map[string]content{"config.pbtxt": text(fmt.Sprintf("name: %q\nplatform: \"tensorflow_graphdef\"\n"+
		"input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 4 ] } ]\noutput [ { name: \"y\" data_type: TYPE_FP32 dims: [ 4 ] } ]\n# state %s\n", name, state))}
	for _, v := range versions {
		// A graph of one node, with a name and an operation.
		node := fmt.Sprintf("\n%c%s\x12\x05Const", len(state)+7, "state "+state+"\n")
		files[fmt.Sprintf("%d/model.graphdef", v)] = text(fmt.Sprintf("\n%c%s\x22\x02\x08\x00", len(node), node))
		files[fmt.Sprintf("%d/notes.txt", v)] = text("state " + state + "\n")
	}
	return m.files(name, files)
}

// oneState fails when the files of a model tell of different states.
func oneState(dir string) error {
	said := map[string][]string{}
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		_, rest, found := strings.Cut(string(raw), "state ")
		state, _, _ := strings.Cut(rest, "\n")
		if !found {
			state = "unknown"
		}
		said[state] = append(said[state], p)
		return nil
	})
	if err == nil && len(said) > 1 {
		err = fmt.Errorf("a mix of states: %v", said)
	}
	return err
}

// push is the command model with the server named. What it places is all that is there: one state.
func (s *served) push(args ...string) result {
	s.t.Helper()
	return s.model(append([]string{"--exact", "--triton", s.Triton.URL}, args...)...)
}

// calm looks for complaints at the end of a test.
func (s *served) calm(t *testing.T) {
	t.Helper()
	polls, straddles := s.Triton.Polls()
	t.Logf("%d polls, %d straddled an exchange", polls, straddles)
	if n := s.Triton.Absences(); n > 0 {
		t.Errorf("%d times a model was absent", n)
	}
	if got := s.Triton.Complaints(); len(got) > 0 {
		t.Errorf("the server complains:\n%s", strings.Join(got, "\n"))
	}
}

func (s *served) ready(t *testing.T, model string, want ...int64) {
	t.Helper()
	if got := s.Triton.Ready(model); !slices.Equal(got, want) {
		t.Errorf("Triton has %v of %s ready, want %v", got, model, want)
	}
}

// Must show 9: load, wait, time-out and roll back, with servers of both protocols that take orders.
func TestModelServerExplicit(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.5.0", "1.15.0", "2.1.0", "2.29.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := newServed(t, tritonserver.Options{Version: version, Mode: tritonserver.Explicit, Loading: 300 * time.Millisecond})
			r := s.push(s.state("m", "old", 1))
			r.exits(t, 0)
			r.says(t, "m: ready in Triton "+version+", version 1")
			s.ready(t, "m", 1)

			r = s.push(s.state("m", "old", 1)) // unchanged: not loaded again
			r.exits(t, 0)
			if n := s.Triton.Loads("m"); n != 1 {
				t.Errorf("loaded %d times", n)
			}
			s.push(s.state("m", "old", 1, 2)).exits(t, 0)
			s.ready(t, "m", 2)

			// A load that fails, without and with the way back.
			s.Triton.FailLoad("m", "out of memory on device 0")
			bad := s.state("m", "bad", 3)
			r = s.push(bad)
			r.exits(t, 23)
			r.says(t, "out of memory on device 0", "→")
			if _, err := os.Stat(s.live("m", "3")); err != nil {
				t.Errorf("without --rollback-on-failure: %v", err)
			}
			s.push(bad).exits(t, 23) // nothing to place any more, and still not taken
			s.back("m").exits(t, 0)
			before := sums(t, s.live("m"), true)
			loads := s.Triton.Loads("m")
			r = s.push("--rollback-on-failure", bad)
			r.exits(t, 23)
			r.says(t, "out of memory on device 0", "rolled back, but Triton did not take the former m")
			if now := sums(t, s.live("m"), true); !equalTrees(now, before) {
				t.Errorf("not rolled back: %v then %v", before, now)
			}
			if n := s.Triton.Loads("m") - loads; n != 2 {
				t.Errorf("it was told to load %d times, want the new one and the former", n)
			}
			if s.ready(t, "m", 2); r.Summary.Models[0].Done {
				t.Errorf("the summary says %+v", r.Summary.Models)
			}
			s.Triton.FailLoad("m", "")
			s.push(s.state("m", "good", 3)).exits(t, 0)
			s.ready(t, "m", 3)
			// Placed without a word to the server, and then with one: of the same version number, it has the old files.
			loads = s.Triton.Loads("m")
			s.placed(s.state("m", "better", 3), "--exact")
			s.push(s.local("m")).exits(t, 0)
			if n := s.Triton.Loads("m") - loads; n != 1 {
				t.Errorf("what had been placed before was loaded %d times", n)
			}
			s.tidy("m")
			s.calm(t)
		})
	}
}

func equalTrees(a, b map[string]string) bool {
	for p := range a {
		if a[p] != b[p] {
			return false
		}
	}
	return len(a) == len(b)
}

// Must show 9: a server that does not come to an end is not waited for for ever; nor one that looks only when it starts.
func TestModelServerTimeout(t *testing.T) {
	t.Parallel()
	s := newServed(t, tritonserver.Options{Mode: tritonserver.Explicit})
	s.push(s.state("m", "old", 1)).exits(t, 0)
	s.Triton.Stall("m")
	r := s.push("--triton-timeout", "2s", s.state("m", "new", 2))
	r.exits(t, 23)
	r.says(t, "after 2s", "--triton-timeout")
	// Nor is it waited for when the former model is back.
	r = s.push("--triton-timeout", "1s", "--rollback-on-failure", s.state("m", "newer", 3))
	r.exits(t, 23)
	r.says(t, "after 1s", "rolled back, but Triton did not take the former m: it has not answered within 1s")
	r = s.push("--timeout", "5s", "--triton-timeout", "8s", "--rollback-on-failure", s.local("m"))
	r.exits(t, 23)
	r.says(t, "within --timeout", "rolled back")
	if _, err := os.Stat(s.live("m", "3")); err == nil {
		t.Error("it was not rolled back")
	}
	s.Triton.Close()
	r = s.push(s.state("m", "newer", 3))
	r.exits(t, 23)
	r.says(t, "does not answer", "→")
	if _, err := os.Stat(s.live("m", "3")); err == nil {
		t.Error("the server was not there, and a model was placed")
	}

	s.Triton = s.serve(t, tritonserver.Options{Mode: tritonserver.None})
	r = s.push("--triton-timeout", "1s", "--rollback-on-failure", s.state("m", "newer", 3))
	r.exits(t, 23)
	r.says(t, "only after a restart", "rolled back")
	s.Triton = s.serve(t, tritonserver.Options{Mode: tritonserver.None})
	r = s.push(s.state("m", "changed", 2))
	r.exits(t, 0)
	r.says(t, "placed; reload not observable")
	s.calm(t)

	r = s.model("--rollback-on-failure", s.local("m"))
	r.exits(t, 2)
	r = s.model("--triton", "ftp://x", s.local("m"))
	r.exits(t, 2)
}

// Must show 9: servers that poll notice everything that is placed, each by its own rule, also with the clock's second of a
// rollback; and they never see anything that they would complain about.
func TestModelServerPolls(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.5.0", "2.28.0", "2.29.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := newServed(t, tritonserver.Options{Version: version, Mode: tritonserver.Poll})
			r := s.push(s.state("m", "first", 1))
			r.exits(t, 0)
			r.says(t, "m: ready in Triton "+version+", version 1")
			s.push(s.state("m", "first", 1, 2)).exits(t, 0)
			s.ready(t, "m", 2)
			// The same version number: the server takes the new files, and shows no sign of it.
			s.notices(t, "a changed model", func() {
				r := s.push(s.state("m", "second", 2))
				r.exits(t, 0)
				r.says(t, "placed; reload not observable")
			})
			s.notices(t, "a rollback", func() { s.back("m").exits(t, 0) })
			s.ready(t, "m", 2)
			s.Triton.FailLoad("m", "bad magic")
			r = s.push("--rollback-on-failure", s.state("m", "first", 1, 2, 3))
			r.exits(t, 23)
			r.says(t, "version 3", "rolled back")
			s.Triton.FailLoad("m", "")
			s.push(s.state("m", "first", 1, 2, 3)).exits(t, 0)
			s.ready(t, "m", 3)
			s.tidy("m")
			s.calm(t)
		})
	}
}

// notices checks that the server loads the model again after a change, within a few polls.
func (s *served) notices(t *testing.T, what string, change func()) {
	t.Helper()
	loads := s.Triton.Loads("m")
	change()
	for end := time.Now().Add(6 * time.Second); s.Triton.Loads("m") == loads; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%s was not noticed", what)
			return
		}
	}
}

// Must show 9 during 3 and 4: pollers of every kind never complain while models are placed, and pushes killed.
func TestModelServerNeverComplains(t *testing.T) {
	t.Parallel()
	pushes, kills := 6, 8
	if full() {
		pushes, kills = 40, 100
	}
	m := newModels(t, lab.SSHDOptions{}, 0)
	m.placed(m.state("m", "start", 1, 2))
	var servers []*served
	for _, version := range []string{"1.5.0", "2.28.0", "2.29.0"} {
		servers = append(servers, &served{m, m.serve(t, tritonserver.Options{Version: version, Mode: tritonserver.Poll, Every: 50 * time.Millisecond})})
	}
	began := time.Now()
	for n := range pushes {
		m.placed(m.state("m", fmt.Sprintf("push %d", n), 1, 2))
	}
	took := time.Since(began) / time.Duration(pushes)
	r := rand.New(rand.NewPCG(campaignSeed(t), 9))
	for n := range kills {
		run := m.start("model", "--json", "--repository", m.Repo, m.state("m", fmt.Sprintf("kill %d", n), 1, 2), "target")
		time.Sleep(time.Duration(r.Float64() * float64(took)))
		if n%2 == 0 {
			run.Cmd.Process.Kill()
		} else {
			killAll(agentsOf(m.Host))
		}
		run.wait()
		if err := oneState(m.live("m")); err != nil {
			t.Errorf("after kill %d: %v", n, err)
		}
	}
	m.placed(m.local("m"))
	m.run("clean", "--repository", m.Repo, "target").exits(t, 0) // a killed push keeps what it sent for the same push again
	m.tidy("m")
	for _, s := range servers {
		s.notices(t, "the last placement", func() { m.placed(m.state("m", "end", 1, 2)); m.state("m", "again", 1, 2); m.placed(m.local("m")) })
		s.calm(t)
	}
}

// Must show 9 where the file system cannot exchange: a model is absent for a moment, and that is all. How often pollers met
// that moment is reported.
func TestModelServerWithoutExchange(t *testing.T) {
	t.Parallel()
	pushes := 6
	if full() {
		pushes = 60
	}
	m := newModels(t, lab.SSHDOptions{Env: map[string]string{"CLARA_PUSH_NO_EXCHANGE": "1"}}, 0)
	if r := m.run("check", "--repository", m.Repo, "target"); !strings.Contains(r.Stdout, "two renames") {
		t.Fatalf("the host can exchange:\n%s", r.Stdout)
	}
	m.placed(m.state("m", "start", 1, 2))
	var servers []*served
	for _, version := range []string{"2.28.0", "2.29.0"} {
		servers = append(servers, &served{m, m.serve(t, tritonserver.Options{Version: version, Mode: tritonserver.Poll, Every: 20 * time.Millisecond})})
	}
	for n := range pushes {
		r := m.placed(m.state("m", fmt.Sprintf("push %d", n), 1, 2))
		if r.Summary.Models[0].Place != "exchange" {
			t.Fatalf("the step was %+v", r.Summary.Models)
		}
	}
	for _, s := range servers {
		s.notices(t, "a rollback", func() { m.back("m").exits(t, 0); m.placed(m.local("m")) })
		s.ready(t, "m", 2)
		t.Logf("%d times the model was absent when the server looked", s.Triton.Absences())
		for _, c := range s.Triton.Complaints() {
			if !strings.Contains(c, "no such file") { // it went while it was looked at
				t.Errorf("the server complains: %s", c)
			}
		}
	}
}

// A server in an ensemble's order: its steps are loaded before it.
func TestModelServerEnsemble(t *testing.T) {
	t.Parallel()
	s := newServed(t, tritonserver.Options{Mode: tritonserver.Explicit})
	step := s.state("step", "one", 1)
	both := s.ensemble("both", "step")
	s.push(step, both).exits(t, 0)
	s.ready(t, "both", 1)
	s.ready(t, "step", 1)
	// One of them fails: both go back, and what was new is unloaded.
	s.Triton.FailLoad("both", "a cycle")
	third := s.state("third", "one", 1)
	write := filepath.Join(both, "config.pbtxt")
	raw, err := os.ReadFile(write)
	if err := errors.Join(err, os.WriteFile(write, append(raw, '#'), 0o600)); err != nil {
		t.Fatal(err)
	}
	r := s.push("--rollback-on-failure", third, both)
	r.exits(t, 23)
	r.says(t, "a cycle")
	if _, err := os.Stat(s.live("third")); err == nil {
		t.Error("a new model was not taken away")
	}
	s.ready(t, "third")
	s.calm(t)
}
