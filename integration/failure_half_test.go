//go:build linux

package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// Names are moved one after the other. When the engine refuses a later one, it is told which were moved.
func TestHalfOfTwoImages(t *testing.T) {
	s := stand(t, lab.Docker2010)
	s.version(t, 1<<20)
	second := strings.Replace(s.ref, "standing", "second", 1)
	if _, err := s.c.Engine.Docker(t.Context(), "tag", s.ref, second); err != nil {
		t.Fatal(err)
	}
	refused := status(func(r *http.Request) bool { return isTag(r) && strings.Contains(r.URL.RawQuery, "second") }, 500)
	r := s.c.fails(16, "--host-engine", newTap(t, s.c.Host.Engine, refused).Host(), s.ref, second)
	r.says(t, ": named, before the push failed", "status 500")
	if i := r.Summary.Images; len(i) != 2 || !i[0].Done || i[0].After.ID != idOf(t, s.c.Host.Engine, s.ref) || i[1].Done || r.Summary.Receipt.Path == "" {
		t.Errorf("the summary tells of %+v, receipt %q", i, r.Summary.Receipt.Path)
	}
}
