package main

import (
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// What somebody else had there before is not said to be placed.
func TestDrifts(t *testing.T) {
	at := func(id string) manifest.State { return manifest.State{ID: id} }
	for want, i := range map[string]manifest.InstalledImage{
		"as placed":                                           {Placed: at("1"), Now: at("1")},
		"as placed, a former one is kept":                     {Placed: at("1"), Now: at("1"), Back: true},
		"MOVED, it points at 2, placed was 1":                 {Placed: at("1"), Now: at("2"), Drift: manifest.DriftMoved},
		"MOVED, it points at 2, put back was 1":               {Placed: at("1"), Now: at("2"), Drift: manifest.DriftMoved, Foreign: true},
		"as it was before clara-push, put back by a rollback": {Placed: at("1"), Now: at("1"), Foreign: true},
	} {
		if got := imageDrift(i); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	for want, m := range map[string]manifest.InstalledModel{
		"as placed in /models": {},
		"as it was before clara-push, put back by a rollback in /models": {Foreign: true},
	} {
		m.Repository = "/models"
		if got := modelDrift(m); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}
