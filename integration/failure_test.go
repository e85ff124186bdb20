//go:build linux

package integration

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// A standing is an image on a host under a name that a failing push must leave as it is.
type standing struct {
	c    *client
	ref  string
	base lab.Layer
	seed uint64

	id     string   // what the name points at
	images []string // all images of the host's engine
}

// stands counts the standings: each has a name and layers of its own.
var stands atomic.Uint64

// stand pushes the first version of an image, from an engine to a host of the same kind.
func stand(t *testing.T, k lab.Kind) *standing {
	t.Helper()
	return standOn(t, newClient(t, source(t, k), target(t, k)), 500)
}

// standOn pushes the first version of an image whose base has this seed.
func standOn(t *testing.T, c *client, base uint64) *standing {
	t.Helper()
	n := stands.Add(1)
	s := &standing{c: c, ref: fmt.Sprintf("standing-%d:1", n), base: lab.Layer{Size: 2 << 20, Seed: base}, seed: 500<<32 + n<<16}
	s.version(t, 1<<20)
	s.c.pushed(s.ref)
	s.look(t)
	return s
}

// version builds another version at the source, whose top layer has this size. Random data: it does not shrink.
func (s *standing) version(t *testing.T, size int64) {
	t.Helper()
	s.seed++
	build(t, s.c.Engine, lab.ImageSpec{
		Name: s.ref, Message: s.message(), Base: s.base, Layers: []lab.Layer{{Content: lab.Random, Size: size, Seed: s.seed}},
	})
}

func (s *standing) message() string { return fmt.Sprintf("%s version %d", s.ref, s.seed&0xffff) }

// look notes what is on the host now.
func (s *standing) look(t testing.TB) {
	t.Helper()
	s.id, s.images = idOf(t, s.c.Host.Engine, s.ref), imagesOf(t, s.c.Host.Engine)
	if s.id == "" {
		t.Fatalf("%s is not on the host", s.ref)
	}
}

// untouched checks that the host is as it was: the name, the other images, no container.
func (s *standing) untouched(t testing.TB) {
	t.Helper()
	if id := idOf(t, s.c.Host.Engine, s.ref); id != s.id {
		t.Errorf("%s has moved from %s to %q", s.ref, s.id, id)
	}
	images := imagesOf(t, s.c.Host.Engine)
	for _, i := range images {
		if !slices.Contains(s.images, i) {
			t.Errorf("an image has come: %s", i)
		}
	}
	for _, i := range s.images {
		if !slices.Contains(images, i) {
			t.Errorf("an image is gone: %s", i)
		}
	}
	var containers []struct{ Names []string }
	if ask(t, s.c.Host.Engine, "/containers/json?all=1", &containers); len(containers) > 0 {
		t.Errorf("containers are left: %v", containers)
	}
}

// recovers checks that the next plain push succeeds.
func (s *standing) recovers(t testing.TB) result {
	t.Helper()
	s.c.t = t
	r := s.c.pushed(s.ref)
	arrived(t, s.c, s.ref, s.message())
	s.look(t)
	return r
}

// bothStores runs a test with an engine of each kind of store.
func bothStores(t *testing.T, f func(*testing.T, lab.Kind)) {
	for _, k := range []lab.Kind{lab.Docker2010, lab.ModernContainerd} {
		t.Run(string(k), func(t *testing.T) { f(t, k) })
	}
}
