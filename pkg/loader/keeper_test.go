//go:build linux

package loader

import (
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/distribution/reference"
)

func TestKeeperName(t *testing.T) {
	long := strings.Repeat("a", 99) + "-" + strings.Repeat("b", 100)
	refs := []string{
		"app:1", "app:2", "app_livertumor:latest", "team/app:1", "reg.example:5000/team/app:1", "reg.example/team/app:1", "a__b.c-d:x",
		"a--b:1", "localhost/app:1", "reg:5000/x/" + long + ":" + strings.Repeat("t", 128), "0:0",
	}
	seen := map[string]string{}
	s := manifest.State{ID: "sha256:" + strings.Repeat("1", 64), Config: confDigest}
	for _, ref := range refs {
		if err := checkRef(ref); err != nil {
			t.Fatalf("%s is no ref: %v", ref, err)
		}
		name := keeperName(ref, s)
		named, err := reference.ParseNormalizedNamed(name)
		if err != nil || reference.FamiliarString(named) != name {
			t.Errorf("%s: %s is no name: %v", ref, name, err)
		}
		if !strings.HasPrefix(name, keeperFolder) || !strings.HasSuffix(name, ":"+confDigest.Encoded()[:12]) {
			t.Errorf("%s: %s", ref, name)
		}
		if other, ok := seen[name]; ok {
			t.Errorf("%s and %s share %s", ref, other, name)
		}
		seen[name] = ref
	}
	if got := keeperName("team/app:1", manifest.State{ID: s.ID}); !strings.HasPrefix(got, "clara-push-former/app-") || !strings.HasSuffix(got, ":111111111111") {
		t.Errorf("without a config: %s", got)
	}
}
