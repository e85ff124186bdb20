//go:build linux

package loader

import (
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A load that changed nothing is taken back by itself: what the load before it placed stays, and is credited to that one.
func TestRollbackOfWhatChangedNothing(t *testing.T) {
	p := newPlacer(t)
	h := p.open()
	contents := contentsOf(baseTree)
	for _, version := range []string{"1.0", "1.1"} {
		pl, err := plan(h, manifest.Options{Keep: 1}, contents, baseTree.model("m"))
		if err != nil {
			t.Fatal(err)
		}
		pl.Provenance = &manifest.Provenance{Bundle: digest.FromString(version), Application: "liver", Version: version}
		if _, err := carryOut(h, pl, contents); err != nil {
			t.Fatal(err)
		}
	}
	r, err := h.Rollback(t.Context(), manifest.Selection{}, Owner{}, nil)
	if err != nil || len(r.Models) != 1 || r.Models[0].Changed() || r.Path == "" {
		t.Errorf("the rollback says %v, and in the receipt %+v", err, r.Models)
	}
	p.holds("m", baseTree)
	s, err := h.Status(t.Context())
	if err != nil || len(s.Models) != 1 || s.Models[0].From.Version != "1.0" || s.Models[0].Drift != manifest.DriftNone || s.Releases[0].Version != "1.0" {
		t.Errorf("the status says %v, %+v", err, s)
	}
	if _, err := h.Rollback(t.Context(), manifest.Selection{}, Owner{}, nil); err != nil || exists(p.at("m")) {
		t.Errorf("the next rollback says %v, or the model is there", err)
	}
	if s, err := h.Status(t.Context()); err != nil || len(s.Models)+len(s.Releases) > 0 {
		t.Errorf("the status says %v, %+v", err, s)
	}
	p.clean()
}
