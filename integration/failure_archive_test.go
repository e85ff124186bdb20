//go:build linux

package integration

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// An archive that is not what it says does not get onto a host.
func TestBadArchive(t *testing.T) {
	e := source(t, lab.ModernContainerd) // whose archives are layouts
	build(t, e, lab.ImageSpec{Name: "bad-archive:1", Base: lab.Layer{Size: 2 << 20, Seed: 500}, Layers: []lab.Layer{{Content: lab.Random, Size: 1 << 20, Seed: 541}}})
	cases := []struct {
		name string
		make func(t *testing.T, l *layout) string // changes an honest layout, and returns what to push
		exit int
		says string
		here bool // found out at the source, before anything is sent
	}{
		{"wrong config", wrongConfig, 17, "sha256:", true},
		{"wrong manifest", wrongManifest, 17, "sha256:", true},
		{"config of other layers", otherConfig, 19, "layers", true},
		{"flipped layer", flippedLayer, 17, "its bytes have another digest", false}, // by the host, which asks the source
		{"longer layer", longerLayer, 17, "bytes", true},
		{"missing layer", missingLayer, 21, "lacks", true},
		{"missing config", missingConfig, 21, "sha256:", true},
		{"wrong diffID", wrongDiffID, 17, "", false}, // the engine's own error: it alone unpacks
		{"layer is no tar", noTar, 16, "", false},    // the same
		{"no archive", noArchive, 19, "archive", true},
		{"cut archive", cutArchive, 19, "archive", true},
		{"no such file", func(*testing.T, *layout) string { return "archive:/nonexistent/x.tar" }, 21, "/nonexistent/x.tar", true},
	}
	bothStores(t, func(t *testing.T, k lab.Kind) {
		s := stand(t, k)
		for _, b := range cases {
			t.Run(b.name, func(t *testing.T) {
				s.c.t = t
				what := b.make(t, savedLayout(t, e, "bad-archive:1"))
				r := s.c.fails(b.exit, "--as", s.ref, what)
				r.says(t, b.says)
				if b.here && r.Up > 64<<10 {
					t.Errorf("%d bytes travelled", r.Up)
				}
				s.untouched(t)
				if !b.here {
					s.version(t, 1<<20)
					s.recovers(t)
				}
			})
		}
		s.c.t = t
		s.version(t, 1<<20)
		s.recovers(t)
	})
}

// wrongConfig: the manifest names a configuration by a digest that its bytes do not have.
func wrongConfig(t *testing.T, l *layout) string {
	_, config, _ := l.parts()
	edit(t, l.path(blobFile(config.Digest)), func(b []byte) []byte { return bytes.Replace(b, []byte("/hello"), []byte("/hellO"), 1) })
	return l.tar()
}

func wrongManifest(t *testing.T, l *layout) string {
	image, _, _ := l.parts()
	edit(t, l.path(blobFile(image.Digest)), func(b []byte) []byte { return bytes.Replace(b, []byte("sha256"), []byte("sha265"), 1) })
	return l.tar()
}

// otherConfig: a configuration that is sound in itself and has one layer less.
func otherConfig(_ *testing.T, l *layout) string {
	_, _, layers := l.parts()
	config := l.document(typeConfig, map[string]any{
		"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": []string{layers[0].Digest}},
	})
	l.index("bad-archive:1", l.manifest(config, layers))
	return l.tar()
}

func flippedLayer(t *testing.T, l *layout) string {
	_, _, layers := l.parts()
	top := layers[len(layers)-1]
	flip(t, l.path(blobFile(top.Digest)), top.Size-100)
	return l.tar()
}

func longerLayer(t *testing.T, l *layout) string {
	_, _, layers := l.parts()
	edit(t, l.path(blobFile(layers[1].Digest)), func(b []byte) []byte { return append(b, 0) })
	return l.tar()
}

func missingLayer(t *testing.T, l *layout) string {
	_, _, layers := l.parts()
	remove(t, l.path(blobFile(layers[1].Digest)))
	return l.tar()
}

func missingConfig(t *testing.T, l *layout) string {
	_, config, _ := l.parts()
	remove(t, l.path(blobFile(config.Digest)))
	return l.tar()
}

// wrongDiffID: all digests are right, but the top layer does not unpack to what the configuration says.
func wrongDiffID(t *testing.T, l *layout) string {
	return l.withTop(t, emptyTar(), "sha256:"+strings.Repeat("1", 64))
}

// noTar: all digests are right, but the top layer is no tar.
func noTar(t *testing.T, l *layout) string {
	text := []byte(strings.Repeat("This is not a tar archive. ", 1000))
	return l.withTop(t, text, digestOf(text))
}

// emptyTar is a tar archive without entries.
func emptyTar() []byte { return make([]byte, 1024) }

// withTop puts a layer on the image. diffID is what the configuration says of it.
func (l *layout) withTop(t *testing.T, top []byte, diffID string) string {
	t.Helper()
	_, config, layers := l.parts()
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	l.read(blobFile(config.Digest), &c)
	d, _ := l.layer(top)
	l.index("bad-archive:1", l.image(append(layers, d), append(c.RootFS.DiffIDs, diffID)))
	return l.tar()
}

func noArchive(t *testing.T, l *layout) string {
	path := l.path("notes.txt")
	if err := os.WriteFile(path, []byte(strings.Repeat("not an archive\n", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	return "archive:" + path
}

func cutArchive(t *testing.T, l *layout) string {
	path := l.tar()
	cut(t, path, 700000)
	return "archive:" + path
}
