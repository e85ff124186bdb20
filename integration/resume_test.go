//go:build linux

package integration

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/integration/link"
)

// bigLayer is an image whose one large layer shrinks to a half on the wire.
func bigLayer(name string, seed uint64) lab.ImageSpec {
	size := int64(100 << 20)
	if full() {
		size = 1 << 30
	}
	return lab.ImageSpec{Name: name, Base: lab.Layer{Content: lab.Half, Size: size, Seed: seed}}
}

// slack is how many bytes more than what is missing a second run may send.
func slack() int64 {
	if full() {
		return 64 << 20
	}
	return 16 << 20
}

// resumeHosts are the kinds of host that the tests of this file run against.
func resumeHosts() []lab.Kind {
	if full() {
		return lab.Dockers
	}
	return []lab.Kind{lab.Docker2010}
}

// A push that ended half-way is finished by running it again, and what had arrived does not travel again.
func TestResume(t *testing.T) {
	t.Parallel()
	for n, k := range resumeHosts() {
		t.Run(string(k), func(t *testing.T) {
			s := newSite(t, lab.Docker2010, k, bigLayer("resume:1", uint64(700+n)))
			t.Run("client killed", func(t *testing.T) {
				s.resumed(t, -1, func(r *running) { r.Cmd.Process.Kill() })
			})
			t.Run("SIGINT", func(t *testing.T) {
				s.resumed(t, 130, func(r *running) { r.Cmd.Process.Signal(os.Interrupt) })
			})
			t.Run("SIGTERM", func(t *testing.T) {
				s.resumed(t, 143, func(r *running) { r.Cmd.Process.Signal(syscall.SIGTERM) })
			})
			t.Run("sshd killed", func(t *testing.T) {
				s.survives(t, func(*running) { killAll(s.Host.Connections()) })
			})
			t.Run("agent killed", func(t *testing.T) {
				s.survives(t, func(*running) { killAll(s.agents()) })
			})
			t.Run("line cut three times", s.cutThreeTimes)
			t.Run("engine killed while it loads", s.engineKilledLate)
			t.Run("engine killed while chunks arrive", s.engineKilledEarly)
			t.Run("client killed past the commit point", s.killedLate)
			t.Run("SIGINT past the commit point", s.interruptedLate)
		})
	}
}

// half starts a push and returns when half of what it must send has gone.
func (s *site) half(t *testing.T) *running {
	t.Helper()
	r := s.start("image", "--json", "-v", s.ref, "target")
	if !r.sent(s.whole/2, patience()) {
		t.Fatalf("half of the bytes did not go\n%s", r.wait().Stderr)
	}
	return r
}

// resumed breaks a push off at its half, which must end it with this code, and runs it again.
func (s *site) resumed(t *testing.T, code int, breakOff func(*running)) {
	s.t = t
	s.reset(t)
	r := s.half(t)
	breakOff(r)
	first := r.wait()
	first.exits(t, code)
	s.means(t, "old")
	s.forsaken(t)
	s.finishes(t, first)
}

// finishes runs a push that was broken off again: it sends what is missing, and not much more.
func (s *site) finishes(t *testing.T, first result) {
	t.Helper()
	second := s.pushed("-v", s.ref)
	s.means(t, "new")
	s.settled(t)
	missing := s.whole - first.Up
	t.Logf("first run sent %s, second %s of %s missing; %s were staged", mb(first.Up), mb(second.Up), mb(missing), mb(second.Summary.Bytes.Staged))
	if second.Up > missing+slack() {
		t.Errorf("the second run sent %s, %s were missing", mb(second.Up), mb(missing))
	}
	if second.Summary.Bytes.Staged == 0 {
		t.Error("nothing of the first run was used")
	}
}

// survives disturbs a push at its half, which must finish by itself.
func (s *site) survives(t *testing.T, disturb func(*running)) {
	s.t = t
	s.reset(t)
	r := s.half(t)
	disturb(r)
	s.survived(t, s.ended(t, r))
}

// ended waits for a push and reads what it told.
func (s *site) ended(t *testing.T, r *running) result {
	t.Helper()
	res := r.wait()
	res.parse(t)
	return res
}

// survived checks a push that was disturbed: it tried again by itself, and sent not much more than it had to.
func (s *site) survived(t *testing.T, r result) {
	t.Helper()
	r.exits(t, 0)
	s.means(t, "new")
	s.settled(t)
	t.Logf("sent %s, %s without disturbance, in %v; tried again %d times", mb(r.Up), mb(s.whole), r.Took.Round(10*time.Millisecond), r.steps("retry"))
	if r.Up > s.whole+slack() {
		t.Errorf("it sent %s, %s is the whole", mb(r.Up), mb(s.whole))
	}
	if r.steps("retry") == 0 {
		t.Error("it never tried again: was it disturbed at all?")
	}
}

func (s *site) cutThreeTimes(t *testing.T) {
	s.t = t
	s.reset(t)
	s.line.CutAfter(s.whole/4, s.whole/4, s.whole/4)
	defer s.line.CutAfter()
	r := s.push("-v", s.ref)
	s.survived(t, r)
	if n := r.steps("retry"); n != 3 {
		t.Errorf("it tried again %d times, the line was cut 3 times\n%s", n, r.Stderr)
	}
}

// committed is what a push says when it passes its commit point.
const committed = "finishes by itself"

// late starts a push and returns when it has passed its commit point.
func (s *site) late(t *testing.T) *running {
	t.Helper()
	s.reset(t)
	r := s.start("image", "--json", "-v", s.ref, "target")
	if !r.until(committed, patience()) {
		t.Fatalf("the commit point never came\n%s", r.wait().Stderr)
	}
	return r
}

// engineKilledEarly kills the engine while chunks arrive: it has begun to take the archive in.
func (s *site) engineKilledEarly(t *testing.T) {
	s.t = t
	s.reset(t)
	s.engineKilled(t, s.half(t))
}

// engineKilledLate kills the engine while it works on the whole archive.
func (s *site) engineKilledLate(t *testing.T) {
	s.t = t
	s.engineKilled(t, s.late(t))
}

func (s *site) engineKilled(t *testing.T, r *running) {
	if err := s.Host.Engine.Kill(); err != nil {
		t.Fatal(err)
	}
	first := s.ended(t, r)
	first.exits(t, 16)
	if err := s.Host.Engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.means(t, "old")
	s.finishes(t, first)
}

// killedLate kills the client past the commit point: the host finishes without it.
func (s *site) killedLate(t *testing.T) {
	s.t = t
	r := s.late(t)
	r.Cmd.Process.Kill()
	r.wait()
	s.finishedAlone(t)
}

// interruptedLate interrupts the client past the commit point: it says that the outcome is open.
func (s *site) interruptedLate(t *testing.T) {
	s.t = t
	r := s.late(t)
	r.Cmd.Process.Signal(os.Interrupt)
	r.wait().exits(t, 20)
	s.finishedAlone(t)
}

// finishedAlone checks that the host has finished a push whose client is gone, and that another finds nothing to do.
func (s *site) finishedAlone(t *testing.T) {
	t.Helper()
	s.forsaken(t)
	s.means(t, "new")
	s.settled(t)
	if n := s.receipts() - s.papers; n != 1 {
		t.Errorf("%d receipts were written, want 1", n)
	}
	if r := s.pushed(s.ref); r.Summary.Images[0].Action != "nothing" {
		t.Errorf("another push had to do %q", r.Summary.Images[0].Action)
	}
}

// A line that is cut for good ends the push with 10; when it is back, another run finishes it.
func TestLineCutForGood(t *testing.T) {
	lab.Need(t, lab.ModernGraphdriver)
	t.Parallel()
	s := newSite(t, lab.Docker2010, lab.ModernGraphdriver, bigLayer("cut:1", 710))
	r := s.half(t)
	s.line.Close()
	first := s.ended(t, r)
	first.exits(t, 10)
	first.says(t, "target", "what has arrived is kept")
	s.means(t, "old")
	s.forsaken(t)
	s.relink(t, link.Options{Rate: lineRate})
	s.finishes(t, first)
}

// A line that falls silent is noticed; when it is back, the push goes on by itself.
func TestLineFallsSilent(t *testing.T) {
	lab.Need(t, lab.ModernContainerd)
	t.Parallel()
	s := newSite(t, lab.Docker2010, lab.ModernContainerd, bigLayer("silent:1", 711))
	r := s.half(t)
	silent := time.Now()
	s.line.Blackhole(true)
	if !r.until(`"step":"retry"`, time.Minute) {
		t.Errorf("the silence was not noticed in a minute")
	}
	t.Logf("noticed after %v", time.Since(silent).Round(10*time.Millisecond))
	time.Sleep(2 * time.Second)
	s.line.Blackhole(false)
	s.survived(t, s.ended(t, r))
}

// A client that sleeps longer than its agent waits, as a laptop does, goes on when it wakes up.
func TestClientSleeps(t *testing.T) {
	if !full() {
		t.Skip("skipped: it sleeps for 40 s; set CLARA_PUSH_FULL=1")
	}
	t.Parallel()
	s := newSite(t, lab.Docker2010, lab.Docker2010, bigLayer("sleep:1", 712))
	r := s.half(t)
	r.Cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(40 * time.Second)
	if n := len(s.agents()); n > 0 {
		t.Errorf("%d agents wait for a client that has been asleep for 40 s", n)
	}
	r.Cmd.Process.Signal(syscall.SIGCONT)
	s.survived(t, s.ended(t, r))
}
