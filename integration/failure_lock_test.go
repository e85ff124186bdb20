//go:build linux

package integration

import (
	"os"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
)

// Two pushes to one host at once: the second waits, and both end well.
func TestTwoAtOnce(t *testing.T) {
	bothStores(t, func(t *testing.T, k lab.Kind) {
		one, two := stand(t, k), stand(t, k)
		one.version(t, 8<<20)
		two.version(t, 2<<20)
		first := one.c.start("image", "--json", "--limit-rate", "4MB", one.ref, "target")
		if !first.sent(1<<20, time.Minute) {
			t.Fatal("the first push sends nothing")
		}
		second := two.c.pushed(two.ref)
		second.says(t, "is pushing since", whoPushes(t))
		r := first.wait()
		r.exits(t, 0)
		arrived(t, one.c, one.ref, one.message())
		arrived(t, two.c, two.ref, two.message())
	})
}

// The same image at once, from two machines: the second has brought it before the first has ended, or has not.
func TestSameAtOnce(t *testing.T) {
	for _, k := range []struct {
		name, rate string
		kind       lab.Kind
	}{
		{"second faster", "100MB", lab.Docker2010},
		{"second slower", "1500k", lab.ModernContainerd},
	} {
		t.Run(k.name, func(t *testing.T) {
			s := stand(t, k.kind)
			s.version(t, 8<<20)
			other := newClient(t, s.c.Engine, s.c.Host)
			first := s.c.start("image", "--json", "--limit-rate", "4MB", s.ref, "target")
			if !first.sent(1<<20, time.Minute) {
				t.Fatal("the first push sends nothing")
			}
			second := other.pushed("--limit-rate", k.rate, s.ref)
			first.wait().exits(t, 0)
			if a := second.Summary.Images[0].Action; a != "nothing" {
				t.Errorf("the second push reports the action %s, want nothing\n%s", a, second.Stderr)
			}
			arrived(t, s.c, s.ref, s.message())
		})
	}
}

// A second push that may not wait ends at once, says who is pushing, and disturbs nothing.
func TestLocked(t *testing.T) {
	one, two := stand(t, lab.Docker2010), stand(t, lab.Docker2010)
	one.version(t, 8<<20)
	two.version(t, 2<<20)
	two.look(t)
	first := one.c.start("image", "--json", "--limit-rate", "4MB", one.ref, "target")
	if !first.sent(1<<20, time.Minute) {
		t.Fatal("the first push sends nothing")
	}
	r := two.c.fails(13, "--lock-timeout", "0", two.ref)
	r.says(t, whoPushes(t), "--lock-timeout")
	if r.Took > 5*time.Second {
		t.Errorf("took %v, should not wait", r.Took)
	}
	two.untouched(t)
	first.wait().exits(t, 0)
	arrived(t, one.c, one.ref, one.message())
	two.recovers(t)
}

// whoPushes is the owner's name of a lock: user@machine.
func whoPushes(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return "root@" + name
}
