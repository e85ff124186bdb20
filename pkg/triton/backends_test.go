package triton

import (
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestBackendsHaveModels wants a correct model of each backend in the table among those that must pass.
func TestBackendsHaveModels(t *testing.T) {
	a, err := txtar.ParseFile("testdata/models.txtar")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, f := range a.Files {
		if !strings.HasSuffix(f.Name, "/config.pbtxt") {
			continue
		}
		for _, m := range regexp.MustCompile(`(?m)^(?:platform|backend): "(.*)"`).FindAllSubmatch(f.Data, -1) {
			said[string(m[1])] = true
		}
	}
	for _, b := range backends {
		if d, _ := byName(b.name); !said[b.platform] && (d != b || !said[b.name]) {
			t.Errorf("no correct model of platform %q, backend %q", b.platform, b.name)
		}
	}
}
