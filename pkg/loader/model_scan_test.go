//go:build linux

package loader

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
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

// Whoever may not look at a model is told a command that lets them.
func TestUnseen(t *testing.T) {
	r := &repository{real: "/clara/common/it's models"}
	var f *manifest.Failure
	err := r.unseen("m", &os.PathError{Op: "open", Path: "m/1", Err: os.ErrPermission})
	if !errors.As(err, &f) || f.Kind != manifest.KindPermission || !strings.Contains(f.Hint, `chmod -R a+rX '/clara/common/it'\''s models/m'`) {
		t.Errorf("it says %v", err)
	}
	if r.unseen("m", nil) != nil {
		t.Error("nothing is a failure")
	}
}

// A file that somebody changes by hand in the very moment in which another one is placed is not taken for what it was.
func TestChangedWhilePlacing(t *testing.T) {
	for name, c := range map[string]struct {
		next tree
		at   string // what is changed by hand
	}{
		"beside a file":    {tree{"config.pbtxt": "new"}, "labels.txt"},
		"beside a version": {tree{"1/model.graphdef": "new", "1/more": "more"}, "config.pbtxt"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlacer(t)
			p.pushed("m", baseTree, manifest.Options{})
			next := baseTree.with(c.next)
			h := p.open()
			pl, err := plan(h, manifest.Options{}, nil, next.model("m"))
			if err == nil {
				err = send(h, pl, contentsOf(next))
			}
			if err != nil {
				t.Fatal(err)
			}
			byHand := func() { // all is built, nothing is placed
				if err := os.WriteFile(filepath.Join(p.at("m"), c.at), []byte("by hand"), fileMode); err != nil {
					t.Error(err)
				}
			}
			if _, err := h.Apply(t.Context(), pl, nil, byHand, nil); err != nil {
				t.Fatal(err)
			}
			h.Close()
			p.holds("m", next.with(tree{c.at: "by hand"}))
			if again, _ := p.pushed("m", next, manifest.Options{}); again.Nothing() {
				t.Error("the host takes it for what was pushed")
			}
			p.holds("m", next)
		})
	}
}
