//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
)

// Where the room on the host is known to be too small, a push says so before it sends anything.
func TestTooSmall(t *testing.T) {
	for _, k := range []lab.Kind{lab.Docker2010, lab.ModernContainerd} {
		t.Run(fmt.Sprintf("stage for %s", k), func(t *testing.T) {
			h := newHostOf(t, target(t, k).Engine, lab.HostOptions{StateMiB: 16})
			tooSmall(t, h, k, "/var/lib/clara-push")
		})
		t.Run(fmt.Sprintf("engine %s", k), func(t *testing.T) {
			h := newHost(t, k, lab.HostOptions{Engine: lab.EngineOptions{DataMiB: 96}})
			tooSmall(t, h, k, h.Engine.DataRoot)
		})
	}
}

// tooSmall pushes to a host that has too little room in a folder, then fewer bytes for which there is enough. Sizes are
// known beforehand where the source has a containerd store, and nearly so from a graphdriver store.
func tooSmall(t *testing.T, h *lab.Host, k lab.Kind, dir string) {
	install(t, program(t), h)
	s := standOn(t, newClient(t, source(t, k), h), 550)
	s.version(t, 60<<20)
	r := s.c.fails(14, s.ref)
	r.says(t, "on the host", "are free", dir)
	if r.Up > 64<<10 {
		t.Errorf("%d bytes travelled", r.Up)
	}
	s.untouched(t)
	s.version(t, 1<<20)
	s.recovers(t)
}

// The stage fills up during a push: what has arrived is kept, and the next push goes on.
func TestStageFillsUp(t *testing.T) {
	bothStores(t, func(t *testing.T, k lab.Kind) {
		h := newHostOf(t, target(t, k).Engine, lab.HostOptions{StateMiB: 64})
		install(t, program(t), h)
		s := standOn(t, newClient(t, source(t, k), h), 551)
		s.version(t, 24<<20)
		r := s.c.start("image", "--json", "--limit-rate", "8MB", s.ref, "target")
		if !r.sent(9<<20, time.Minute) {
			t.Fatal("nothing is sent")
		}
		filler := fill(t, h.VarLib)
		res := r.wait()
		res.parse(t)
		res.exits(t, 14)
		res.says(t, "no space left", "free some space")
		s.untouched(t)
		remove(t, filler)
		if r := s.recovers(t); r.Up > 24<<20-4<<20 {
			t.Errorf("%d bytes travelled, though some had arrived before", r.Up)
		}
	})
}

// The engine's folder fills up while it loads.
func TestEngineFillsUp(t *testing.T) {
	bothStores(t, func(t *testing.T, k lab.Kind) {
		h := newHost(t, k, lab.HostOptions{Engine: lab.EngineOptions{DataMiB: 160}})
		install(t, program(t), h)
		s := standOn(t, newClient(t, source(t, k), h), 552)
		s.version(t, 30<<20)
		r := s.c.start("image", "--json", "--limit-rate", "10MB", s.ref, "target")
		if !r.sent(6<<20, time.Minute) {
			t.Fatal("nothing is sent")
		}
		filler := fill(t, h.Engine.DataRoot)
		res := r.wait()
		res.parse(t)
		res.exits(t, 14)
		res.says(t, "no room", "no space left", "free some space")
		s.untouched(t)
		remove(t, filler)
		if r := s.recovers(t); r.Up > 30<<20-3<<20 {
			t.Errorf("%d bytes travelled, though some had arrived before", r.Up)
		}
	})
}

// fill takes all the room of the file system of a folder, and returns the file that does.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var at int64
	for size := int64(16 << 20); size >= 4096; {
		if err := syscall.Fallocate(int(f.Fd()), 0, at, size); err != nil {
			size /= 2
			continue
		}
		at += size
	}
	if at < 1<<20 {
		t.Fatalf("only %d bytes could be taken in %s", at, dir)
	}
	return path
}
