package manifest_test

import (
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestOnly(t *testing.T) {
	a := manifest.Artifacts{Provenance: &manifest.Provenance{Bundle: id("index")}, Models: []manifest.Model{modelOf("m", "1"), modelOf("n", "1")}}
	for _, ref := range []string{"app:1", "app:latest", "team/app:1"} {
		a.Images = append(a.Images, manifest.Image{Ref: ref})
	}
	for _, tt := range []struct {
		images, models string
		want           string // names of what is left
		kind           manifest.Kind
	}{
		{"", "", "app:1 app:latest team/app:1 m n", ""},
		{"app", "", "app:latest", ""},
		{"team/app:1 app:1", "n", "team/app:1 app:1 n", ""},
		{"", "m", "m", ""},
		{"team/app", "", "", manifest.KindNotFound},
		{"app:2", "", "", manifest.KindNotFound},
		{"app:1", "x", "", manifest.KindNotFound},
	} {
		got, err := a.Only(manifest.Selection{Images: strings.Fields(tt.images), Models: strings.Fields(tt.models)})
		refused(t, err, tt.kind, nil)
		if err != nil {
			continue
		}
		var names []string
		for _, i := range got.Images {
			names = append(names, i.Ref)
		}
		for _, m := range got.Models {
			names = append(names, m.Name)
		}
		if strings.Join(names, " ") != tt.want || got.Provenance == nil {
			t.Errorf("%q %q leaves %v", tt.images, tt.models, names)
		}
	}
}
