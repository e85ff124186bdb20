//go:build linux

package loader

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A repository is one, however it is written and by which link it is reached: a model has one history there.
func TestRepositoryByOtherNames(t *testing.T) {
	for name, other := range map[string]func(p *placer) string{
		"a slash at the end": func(p *placer) string { return p.repo + "/" },
		"two slashes":        func(p *placer) string { return p.dir + "//models" },
		"a link": func(p *placer) string {
			link := filepath.Join(p.dir, "link")
			if err := os.Symlink("models", link); err != nil {
				t.Fatal(err)
			}
			return link
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlacer(t)
			q := &placer{t: t, dir: p.dir, repo: other(p)}
			changed := baseTree.with(tree{"config.pbtxt": "changed"})
			p.pushed("m", baseTree, manifest.Options{Keep: 1})
			q.pushed("m", changed, manifest.Options{Keep: 1})
			s, err := p.open().Status(t.Context())
			if err != nil || len(s.Models) != 1 || s.Models[0].Drift != manifest.DriftNone || s.Models[0].Repository != p.repo {
				t.Errorf("the status is %+v, %v", s.Models, err)
			}
			p.holdsAfterRollback("m", baseTree)
			if _, err := q.rollback("m"); err != nil || exists(p.at("m")) {
				t.Errorf("the model is there, or %v", err)
			}
		})
	}
}
