//go:build linux

package loader

import (
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A model that somebody changes by hand is replaced like any other; what stays the same is not hashed again.
func TestRemembered(t *testing.T) {
	p := newPlacer(t)
	p.pushed("m", baseTree, manifest.Options{})
	h := p.open()
	read := h.models.repo.remembered("m")
	if len(read) != 5 {
		t.Errorf("%d digests are remembered", len(read))
	}
	for path, k := range read {
		k.Digest = descriptorOf("a lie " + path).Digest // if it is believed, the file was not read
		read[path] = k
	}
	if err := h.models.repo.writeDigests("m", read); err != nil {
		t.Fatal(err)
	}
	pl, err := plan(h, manifest.Options{}, nil, baseTree.model("m"))
	if err != nil || pl.Nothing() {
		t.Errorf("files were hashed again: %v %v", pl.Models[0].Place, err)
	}
}
