//go:build linux

package integration

import (
	"fmt"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// Every kind of engine pushes to every kind: all of an image, then one with another top layer, then the same again.
func TestMatrix(t *testing.T) {
	for i, from := range lab.Dockers {
		for j, to := range lab.Dockers {
			t.Run(fmt.Sprintf("%s to %s", from, to), func(t *testing.T) {
				m := newMatrix(t, source(t, from), target(t, to), uint64(100+10*i+j))
				t.Run("cold", m.cold)
				t.Run("top layer changed", m.topChanged)
				t.Run("nothing changed", m.nothingChanged)
			})
		}
	}
}

// matrix pushes one image, in two versions, from one engine to one host.
type matrix struct {
	c    *client
	ref  string
	base int64 // bytes of files
	top  int64
	seed uint64
}

func newMatrix(t *testing.T, e *lab.Engine, h *lab.Host, seed uint64) *matrix {
	return &matrix{c: newClient(t, e, h), ref: fmt.Sprintf("matrix-%d:1", seed), base: 30 << 20, top: 1 << 20, seed: seed}
}

// version builds a version of the image. Versions share the base.
func (m *matrix) version(t *testing.T, n uint64) {
	build(t, m.c.Engine, lab.ImageSpec{
		Name: m.ref, Message: fmt.Sprintf("version %d", n), Base: lab.Layer{Size: m.base, Seed: m.seed},
		Layers: []lab.Layer{{Content: lab.Random, Size: m.top, Seed: m.seed<<8 + n}},
	})
}

func (m *matrix) cold(t *testing.T) {
	m.c.t = t
	m.version(t, 1)
	r := m.c.pushed(m.ref)
	if i := r.Summary.Images[0]; i.Action != "load" || i.LayersPresent != 0 {
		t.Errorf("action %s with %d layers there; want load with 0", i.Action, i.LayersPresent)
	}
	if r.Up < m.base/10 {
		t.Errorf("%d bytes travelled: the host had something of it", r.Up)
	}
	arrived(t, m.c, m.ref, "version 1")
}

func (m *matrix) topChanged(t *testing.T) {
	m.c.t = t
	former := idOf(t, m.c.Host.Engine, m.ref)
	m.version(t, 2)
	r := m.c.pushed(m.ref)
	i := r.Summary.Images[0]
	if i.Action != "load" || i.LayersPresent != 1 {
		t.Errorf("action %s with %d layers there; want load with 1", i.Action, i.LayersPresent)
	}
	if limit := m.top*11/10 + 64<<10; r.Up > limit {
		t.Errorf("%d bytes travelled, want at most %d", r.Up, limit)
	}
	arrived(t, m.c, m.ref, "version 2")
	if i.Keeper == "" {
		t.Error("no name keeps the former image")
	} else if kept := idOf(t, m.c.Host.Engine, i.Keeper); kept != former {
		t.Errorf("%s is %s, want the former image %s", i.Keeper, kept, former)
	}
}

func (m *matrix) nothingChanged(t *testing.T) {
	m.c.t = t
	before := idOf(t, m.c.Host.Engine, m.ref)
	r := m.c.pushed(m.ref)
	if i := r.Summary.Images[0]; i.Action != "nothing" || !i.Done {
		t.Errorf("action %s, done %v; want nothing, true", i.Action, i.Done)
	}
	if r.steps("send") > 0 || r.Up > 64<<10 {
		t.Errorf("%d bytes travelled", r.Up)
	}
	if after := idOf(t, m.c.Host.Engine, m.ref); after != before {
		t.Errorf("the name moved from %s to %s", before, after)
	}
}
