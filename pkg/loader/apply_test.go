//go:build linux

package loader

import (
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Files of models may arrive when all images have: then the last image is not the point of no return.
func TestLastArrival(t *testing.T) {
	image := func(a manifest.Action) manifest.ImagePlan { return manifest.ImagePlan{Action: a} }
	model := func(p manifest.Placement) manifest.ModelPlan { return manifest.ModelPlan{Place: p} }
	load, tag := image(manifest.ActionLoad), image(manifest.ActionTag)
	for _, tt := range []struct {
		name   string
		images []manifest.ImagePlan
		models []manifest.ModelPlan
		want   bool // of the first image
	}{
		{"one image", []manifest.ImagePlan{load}, nil, true},
		{"another one follows", []manifest.ImagePlan{load, tag, load}, nil, false},
		{"a name follows", []manifest.ImagePlan{load, tag}, nil, true},
		{"a model is there already", []manifest.ImagePlan{load}, []manifest.ModelPlan{model(manifest.PlaceNothing)}, true},
		{"a model is built", []manifest.ImagePlan{load}, []manifest.ModelPlan{model(manifest.PlaceNothing), model(manifest.PlaceFile)}, false},
	} {
		a := &applying{plan: manifest.Plan{Images: tt.images, Models: tt.models}}
		if got := a.lastArrival(0); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
