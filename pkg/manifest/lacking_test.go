package manifest_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// hasBase gives inv the layer "base": as its own tar, or as the gzip blob of it.
func hasBase(inv manifest.Inventory, gzip bool) manifest.Inventory {
	l := layer("base", gzip)
	inv.Chains = manifest.ChainIDs([]manifest.Digest{l.DiffID})
	inv.Blobs = []manifest.Blob{{Digest: l.Digest, Size: l.Size, DiffID: l.DiffID, MediaType: l.MediaType}}
	return inv
}

func TestDiffRefusesWhatIsLeftOut(t *testing.T) {
	second := image(true, "base", "other")
	second.Ref = "app:2"
	bundled := manifest.Artifacts{
		Images: []manifest.Image{image(true, "base", "top"), second}, Lacking: []manifest.Digest{id("base.gz")},
		Provenance: &manifest.Provenance{Bundle: id("index"), Base: "liver 1.0"},
	}
	staged := host(manifest.StoreGraphdriver)
	staged.Staged = []manifest.Staged{{Digest: id("base.gz"), Chunks: []int{0}}}
	unnamed := bundled
	unnamed.Provenance = nil
	above := host(manifest.StoreGraphdriver)
	above.Chains = manifest.ChainIDs(image(true, "x", "base").DiffIDs())
	tests := []struct {
		name  string
		a     manifest.Artifacts
		inv   manifest.Inventory
		opt   manifest.Options
		kind  manifest.Kind
		words []string // of the error and its hint
	}{
		{"empty graphdriver", bundled, host(manifest.StoreGraphdriver), manifest.Options{}, manifest.KindNotFound,
			[]string{"liver 1.0", "app:1 lacks 1 layer (" + string(id("base.gz")) + ")", "leaves nothing out"}},
		{"empty containerd", bundled, host(manifest.StoreContainerd), manifest.Options{}, manifest.KindNotFound, []string{"liver 1.0", "app:1 lacks 1 layer"}},
		{"empty podman", bundled, host(manifest.StorePodman), manifest.Options{}, manifest.KindNotFound, []string{"app:1 lacks 1 layer"}},
		{"base on graphdriver", bundled, hasBase(host(manifest.StoreGraphdriver), false), manifest.Options{}, "", nil},
		{"base on containerd", bundled, hasBase(host(manifest.StoreContainerd), true), manifest.Options{}, "", nil},
		{"base elsewhere in a chain", bundled, above, manifest.Options{}, manifest.KindNotFound, []string{"app:1 lacks 1 layer"}},
		{"another compression", bundled, hasBase(host(manifest.StoreContainerd), false), manifest.Options{}, manifest.KindNotFound, []string{"--reuse-layers"}},
		{"another compression, reuse", bundled, hasBase(host(manifest.StoreContainerd), false), manifest.Options{ReuseLayers: true}, "", nil},
		{"base denied", bundled, hasBase(host(manifest.StoreContainerd), true), manifest.Options{Absent: []manifest.Digest{id("base.gz")}}, manifest.KindNotFound, nil},
		{"base in the stage", bundled, staged, manifest.Options{}, "", nil},
		{"no base named", unnamed, host(manifest.StoreGraphdriver), manifest.Options{}, manifest.KindNotFound, []string{"leaves nothing out"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := manifest.Diff(tt.a, tt.inv, tt.opt)
			refused(t, err, tt.kind, tt.words)
			if err != nil && len(p.Images) > 0 {
				t.Error("there is a plan beside the refusal")
			}
		})
	}
}

// refused wants a failure of a kind that says certain words.
func refused(t *testing.T, err error, kind manifest.Kind, words []string) {
	t.Helper()
	if got := manifest.KindOf(err); got != kind {
		t.Fatalf("kind %q (%v), want %q", got, err, kind)
	}
	var f *manifest.Failure
	if errors.As(err, &f) {
		for _, w := range words {
			if text := f.Error() + " → " + f.Hint; !strings.Contains(text, w) {
				t.Errorf("it says %q, not %q", text, w)
			}
		}
	}
}

func TestDiffRefusesFilesThatAreLeftOut(t *testing.T) {
	m := modelOf("m", "config.pbtxt=conf 1/a=a 1/b=b 1/c=c 1/d=d 1/e=e 1/f=f 1/g=g")
	a := manifest.Artifacts{Models: []manifest.Model{m}}
	for _, f := range m.Files {
		if f.Path != "config.pbtxt" {
			a.Lacking = append(a.Lacking, f.Digest)
		}
	}
	repo := func(live string, chunks ...manifest.Staged) manifest.Inventory {
		l := liveModel("m", live)
		if live == "" {
			l = manifest.HostModel{Name: "m"}
		}
		return manifest.Inventory{Repository: &manifest.Repository{Exchange: true, Models: []manifest.HostModel{l}, Staged: chunks}}
	}
	const all = "1/a=a 1/b=b 1/c=c 1/d=d 1/e=e 1/f=f 1/g=g"
	tests := []struct {
		name  string
		inv   manifest.Inventory
		kind  manifest.Kind
		words []string
	}{
		{"new", repo(""), manifest.KindNotFound, []string{"model m lacks 7 files (1/a, 1/b, 1/c, 1/d, 1/e and 2 more)"}},
		{"there but for the config", repo("config.pbtxt=old " + all), "", nil},
		{"there", repo("config.pbtxt=conf " + all), "", nil},
		{"one is another", repo("config.pbtxt=conf 1/a=x 1/b=b 1/c=c 1/d=d 1/e=e 1/f=f 1/g=g"), manifest.KindNotFound, []string{"model m lacks 1 file (1/a)"}},
		{"that one is staged", repo("config.pbtxt=conf 1/a=x 1/b=b 1/c=c 1/d=d 1/e=e 1/f=f 1/g=g", manifest.Staged{Digest: id("a"), Chunks: []int{0}}), "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := manifest.Diff(a, tt.inv, manifest.Options{})
			refused(t, err, tt.kind, tt.words)
		})
	}
}

func TestDiffPassesTheProvenanceOn(t *testing.T) {
	from := &manifest.Provenance{Bundle: id("index"), Application: "liver"}
	p, err := manifest.Diff(manifest.Artifacts{Images: []manifest.Image{image(true, "a")}, Provenance: from}, host(manifest.StoreGraphdriver), manifest.Options{})
	if err != nil || p.Provenance != from {
		t.Errorf("%v, %v", p.Provenance, err)
	}
}

func TestTreeDigest(t *testing.T) {
	m := modelOf("m", "config.pbtxt=conf 1/w=one 2")
	was := manifest.TreeDigest(m.Files, m.Dirs)
	back := slices.Clone(m.Files)
	slices.Reverse(back)
	if manifest.TreeDigest(back, m.Dirs) != was || manifest.CheckDigest(was) != nil {
		t.Error("the order of files matters")
	}
	for _, other := range []string{"config.pbtxt=conf 1/w=one", "config.pbtxt=conf 1/w=two 2", "config.pbtxt=conf 1/v=one 2", "config.pbtxt=conf 1/w=one 2=2"} {
		if o := modelOf("m", other); manifest.TreeDigest(o.Files, o.Dirs) == was {
			t.Errorf("%q has the same digest", other)
		}
	}
	m.Files[0].Size++
	if manifest.TreeDigest(m.Files, m.Dirs) == was {
		t.Error("the size does not matter")
	}
}
