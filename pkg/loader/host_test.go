//go:build linux

package loader

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

func TestStateDir(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	given := filepath.Join(home, "a", "b")
	if got, err := StateDir(given); err != nil || got != given {
		t.Errorf("got %s, %v", got, err)
	}
	if info, err := os.Stat(given); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if os.Geteuid() != 0 {
		t.Setenv("XDG_STATE_HOME", "")
		if got, err := StateDir(""); err != nil || got != filepath.Join(home, ".local/state/clara-push") {
			t.Errorf("got %s, %v", got, err)
		}
		t.Setenv("XDG_STATE_HOME", filepath.Join(home, "xdg"))
		if got, err := StateDir(""); err != nil || got != filepath.Join(home, "xdg/clara-push") {
			t.Errorf("got %s, %v", got, err)
		}
	}
	if err := os.Chmod(given, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := StateDir(given); manifest.KindOf(err) != manifest.KindPermission {
		t.Errorf("open to everybody: %v", err)
	}
	file := filepath.Join(home, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := StateDir(filepath.Join(file, "x")); err == nil {
		t.Error("a folder below a file was made")
	}
}

func TestSpaceAt(t *testing.T) {
	dir := t.TempDir()
	here, below := spaceAt(dir), spaceAt(filepath.Join(dir, "not", "there"))
	if here.Free <= 0 || here.Device == 0 || here.Path != dir {
		t.Errorf("got %+v", here)
	}
	if below.Device != here.Device || below.Free == manifest.UnknownSize {
		t.Errorf("a folder that is not there: %+v", below)
	}
}

func TestChainsOf(t *testing.T) {
	a, b, c := digest.FromString("a"), digest.FromString("b"), digest.FromString("c")
	images := []engine.Image{{DiffIDs: []manifest.Digest{a, b, c}}, {DiffIDs: []manifest.Digest{a, c}}, {}}
	chains := func(ids ...manifest.Digest) []manifest.Digest { return manifest.ChainIDs(ids) }
	for _, tt := range []struct {
		name string
		q    manifest.Query
		want []manifest.Digest
	}{
		{name: "nothing asked"},
		{name: "common base", q: manifest.Query{DiffIDs: [][]manifest.Digest{{a, b, a}}}, want: chains(a, b)},
		{name: "another order", q: manifest.Query{DiffIDs: [][]manifest.Digest{{b, a}}}},
		{name: "all", q: manifest.Query{All: true}, want: append(chains(a, b, c), chains(a, c)[1])},
	} {
		got := chainsOf(images, tt.q)
		slices.Sort(tt.want)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestLayersOf(t *testing.T) {
	a, b := digest.FromString("a"), digest.FromString("b")
	images := []engine.Image{{DiffIDs: []manifest.Digest{a, b}}, {DiffIDs: []manifest.Digest{b}}}
	got := layersOf(images, manifest.Query{DiffIDs: [][]manifest.Digest{{b}}})
	if len(got) != 1 || got[0].Digest != b || got[0].DiffID != b || got[0].MediaType == "" {
		t.Errorf("got %+v", got)
	}
	if got := layersOf(images, manifest.Query{All: true}); len(got) != 2 {
		t.Errorf("all: %+v", got)
	}
}
