package manifest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/pkg/manifest"
)

const gzipType = "application/vnd.oci.image.layer.v1.tar+gzip"

func id(s string) manifest.Digest { return digest.FromString(s) }

// layer makes a layer whose blob is its own uncompressed tar, or with gzip another blob.
func layer(name string, gzip bool) manifest.Layer {
	l := manifest.Layer{DiffID: id(name)}
	l.Digest, l.Size, l.MediaType = l.DiffID, 1000, "application/vnd.oci.image.layer.v1.tar"
	if gzip {
		l.Digest, l.Size, l.MediaType = id(name+".gz"), 400, gzipType
	}
	return l
}

func image(gzip bool, names ...string) manifest.Image {
	i := manifest.Image{Ref: "app:1", Platform: manifest.Platform{OS: "linux", Architecture: "amd64"}}
	i.Config.Digest, i.Config.Size = id("config of "+strings.Join(names, " ")), 50
	for _, n := range names {
		i.Layers = append(i.Layers, layer(n, gzip))
	}
	if gzip {
		i.Manifest.Digest, i.Manifest.Size = id("manifest of "+strings.Join(names, " ")), 60
	}
	return i
}

func host(s manifest.Store) manifest.Inventory {
	e := manifest.Engine{Store: s, Platform: manifest.Platform{OS: "linux", Architecture: "amd64"}}
	return manifest.Inventory{Engine: e}
}

func hostImage(i manifest.Image) manifest.HostImage {
	return manifest.HostImage{ID: "engine-id", Config: i.Config.Digest, Manifest: i.Manifest.Digest, DiffIDs: i.DiffIDs(), Refs: []string{i.Ref}}
}

func TestDiffAction(t *testing.T) {
	app := image(true, "base", "top")
	with := func(inv manifest.Inventory, change func(*manifest.HostImage)) manifest.Inventory {
		h := hostImage(app)
		change(&h)
		inv.Images = append(inv.Images, h)
		return inv
	}
	tests := []struct {
		name   string
		inv    manifest.Inventory
		opt    manifest.Options
		want   manifest.Action
		former string
	}{
		{"empty host", host(manifest.StoreContainerd), manifest.Options{}, manifest.ActionLoad, ""},
		{"same image", with(host(manifest.StoreContainerd), func(*manifest.HostImage) {}), manifest.Options{}, manifest.ActionNothing, "engine-id"},
		{"same image, broken", with(host(manifest.StoreContainerd), func(h *manifest.HostImage) { h.Missing = []manifest.Digest{id("x")} }), manifest.Options{}, manifest.ActionLoad, "engine-id"},
		{"other manifest on containerd", with(host(manifest.StoreContainerd), func(h *manifest.HostImage) { h.Manifest = id("m2") }), manifest.Options{}, manifest.ActionLoad, "engine-id"},
		{"other manifest, reuse", with(host(manifest.StoreContainerd), func(h *manifest.HostImage) { h.Manifest = id("m2") }), manifest.Options{ReuseLayers: true}, manifest.ActionNothing, "engine-id"},
		{"no manifest on graphdriver", with(host(manifest.StoreGraphdriver), func(h *manifest.HostImage) { h.Manifest = "" }), manifest.Options{}, manifest.ActionNothing, "engine-id"},
		{"other config", with(host(manifest.StoreGraphdriver), func(h *manifest.HostImage) { h.Config = id("c2") }), manifest.Options{}, manifest.ActionLoad, "engine-id"},
		{"same config, other layers", with(host(manifest.StoreGraphdriver), func(h *manifest.HostImage) { h.DiffIDs = h.DiffIDs[:1] }), manifest.Options{}, manifest.ActionLoad, "engine-id"},
		{"under another name", with(host(manifest.StoreGraphdriver), func(h *manifest.HostImage) { h.Refs = []string{"x:1"} }), manifest.Options{}, manifest.ActionTag, ""},
		{"unknown config", with(host(manifest.StoreContainerd), func(h *manifest.HostImage) { h.Config = "" }), manifest.Options{}, manifest.ActionLoad, "engine-id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := manifest.Diff(manifest.Artifacts{Images: []manifest.Image{app}}, tt.inv, tt.opt)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Images[0]; got.Action != tt.want || got.Former != tt.former {
				t.Errorf("action %s former %q, want %s %q", got.Action, got.Former, tt.want, tt.former)
			}
			if p.Nothing() != (tt.want == manifest.ActionNothing) {
				t.Errorf("Nothing() = %v for action %s", p.Nothing(), tt.want)
			}
		})
	}
}

func TestDiffLayers(t *testing.T) {
	chains := func(names ...string) manifest.Inventory {
		inv := host(manifest.StoreGraphdriver)
		inv.Chains = manifest.ChainIDs(image(false, names...).DiffIDs())
		return inv
	}
	blobs := func(s manifest.Store, gzip bool, names ...string) manifest.Inventory {
		inv := host(s)
		for _, n := range names {
			l := layer(n, gzip)
			inv.Blobs = append(inv.Blobs, manifest.Blob{Digest: l.Digest, Size: l.Size, DiffID: l.DiffID, MediaType: l.MediaType})
		}
		return inv
	}
	tests := []struct {
		name string
		img  manifest.Image
		inv  manifest.Inventory
		opt  manifest.Options
		send []manifest.Digest // layers that travel
	}{
		{"graphdriver, base there", image(false, "a", "b"), chains("a"), manifest.Options{}, []manifest.Digest{id("b")}},
		{"graphdriver, same layer on another base", image(false, "a", "b"), chains("x", "b"), manifest.Options{}, []manifest.Digest{id("a"), id("b")}},
		{"graphdriver, other order", image(false, "a", "b"), chains("b", "a"), manifest.Options{}, []manifest.Digest{id("a"), id("b")}},
		{"graphdriver, denied", image(false, "a", "b"), chains("a"), manifest.Options{Absent: []manifest.Digest{id("a")}}, []manifest.Digest{id("a"), id("b")}},
		{"graphdriver, gzip source", image(true, "a", "b"), chains("a"), manifest.Options{}, []manifest.Digest{id("b.gz")}},
		{"containerd, same blob", image(true, "a", "b"), blobs(manifest.StoreContainerd, true, "a"), manifest.Options{}, []manifest.Digest{id("b.gz")}},
		{"containerd, other compression, manifest kept", image(true, "a", "b"), blobs(manifest.StoreContainerd, false, "a"), manifest.Options{}, []manifest.Digest{id("a.gz"), id("b.gz")}},
		{"containerd, other compression, reuse", image(true, "a", "b"), blobs(manifest.StoreContainerd, false, "a"), manifest.Options{ReuseLayers: true}, []manifest.Digest{id("b.gz")}},
		{"containerd, source without manifest", image(false, "a", "b"), blobs(manifest.StoreContainerd, true, "a"), manifest.Options{}, []manifest.Digest{id("b")}},
		{"containerd, denied blob", image(true, "a", "b"), blobs(manifest.StoreContainerd, true, "a"), manifest.Options{Absent: []manifest.Digest{id("a.gz")}}, []manifest.Digest{id("a.gz"), id("b.gz")}},
		{"podman, any position", image(false, "a", "b", "c"), blobs(manifest.StorePodman, false, "b"), manifest.Options{}, []manifest.Digest{id("a"), id("c")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := manifest.Diff(manifest.Artifacts{Images: []manifest.Image{tt.img}}, tt.inv, tt.opt)
			if err != nil {
				t.Fatal(err)
			}
			var send []manifest.Digest
			for _, l := range p.Images[0].Layers {
				if !l.Present {
					send = append(send, l.Digest)
				}
			}
			if !slices.Equal(send, tt.send) {
				t.Errorf("sends %v, want %v", send, tt.send)
			}
		})
	}
}

func TestDiffSharedBaseTravelsOnce(t *testing.T) {
	one, two := image(false, "base", "one"), image(false, "base", "two")
	two.Ref = "app:2"
	for _, s := range []manifest.Store{manifest.StoreGraphdriver, manifest.StoreContainerd, manifest.StorePodman} {
		p, err := manifest.Diff(manifest.Artifacts{Images: []manifest.Image{one, two}}, host(s), manifest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !p.Images[1].Layers[0].Present {
			t.Errorf("%s: the base is sent again for the second image", s)
		}
		if want := int64(3*1000 + 2*50); p.Sizes.Send != want {
			t.Errorf("%s: %d bytes to send, want %d", s, p.Sizes.Send, want)
		}
	}
}

func TestDiffRefuses(t *testing.T) {
	many := make([]string, manifest.MaxLayers+1)
	for i := range many {
		many[i] = strings.Repeat("x", i+1)
	}
	arm := image(false, "a")
	arm.Platform.Architecture = "arm64"
	full := host(manifest.StoreContainerd)
	full.Stage = manifest.Space{Path: "/s", Device: 1, Free: 10, Inodes: 5}
	small := host(manifest.StoreGraphdriver)
	small.Data = manifest.Space{Path: "/d", Device: 2, Free: 1500, Inodes: 5}
	shared := small
	shared.Stage, shared.Data = manifest.Space{Path: "/s", Device: 2, Free: 2500, Inodes: 5}, manifest.Space{Path: "/d", Device: 2, Free: 2500, Inodes: 5}
	inodes := host(manifest.StoreContainerd)
	inodes.Stage = manifest.Space{Path: "/s", Device: 1, Free: 1 << 40}
	tests := []struct {
		name string
		img  manifest.Image
		inv  manifest.Inventory
		opt  manifest.Options
		want manifest.Kind
	}{
		{"126 layers on graphdriver", image(false, many...), host(manifest.StoreGraphdriver), manifest.Options{}, manifest.KindEngine},
		{"125 layers on graphdriver", image(false, many[:manifest.MaxLayers]...), host(manifest.StoreGraphdriver), manifest.Options{}, ""},
		{"126 layers on containerd", image(false, many...), host(manifest.StoreContainerd), manifest.Options{}, ""},
		{"foreign platform", arm, host(manifest.StoreGraphdriver), manifest.Options{}, manifest.KindUsage},
		{"foreign platform asked for", arm, host(manifest.StoreGraphdriver), manifest.Options{AnyPlatform: true}, ""},
		{"stage too small", image(false, "a"), full, manifest.Options{}, manifest.KindSpace},
		{"engine too small", image(false, "a"), small, manifest.Options{}, manifest.KindSpace},
		{"one disk too small for both", image(false, "a"), shared, manifest.Options{}, manifest.KindSpace},
		{"no inodes", image(false, "a"), inodes, manifest.Options{}, manifest.KindSpace},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := manifest.Diff(manifest.Artifacts{Images: []manifest.Image{tt.img}}, tt.inv, tt.opt)
			if got := manifest.KindOf(err); got != tt.want {
				t.Errorf("kind %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestDiffCountsStagedChunks(t *testing.T) {
	img := image(false, "a")
	img.Layers[0].Size = 3*manifest.ChunkSize + 7
	inv := host(manifest.StoreGraphdriver)
	inv.Staged = []manifest.Staged{{Digest: img.Layers[0].Digest, Size: manifest.UnknownSize, Chunks: []int{0, 3}}}
	p, err := manifest.Diff(manifest.Artifacts{Images: []manifest.Image{img}}, inv, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := manifest.ChunkSize + 7; p.Sizes.Staged != want {
		t.Errorf("staged %d, want %d", p.Sizes.Staged, want)
	}
	if want := 2*manifest.ChunkSize + 50; p.Sizes.Send != want {
		t.Errorf("send %d, want %d", p.Sizes.Send, want)
	}
}

func TestComposeIsDeterministicAndRefusesUnknownSizes(t *testing.T) {
	img := image(true, "a", "b")
	layers := []manifest.LayerPlan{{Layer: img.Layers[0]}, {Layer: layer("b", false)}}
	raw, d, err := manifest.Compose(img.Config, layers)
	again, _, _ := manifest.Compose(img.Config, layers)
	if err != nil || string(raw) != string(again) || d.Digest != digest.FromBytes(raw) || d.Size != int64(len(raw)) {
		t.Fatalf("compose: %v, %s", err, d.Digest)
	}
	layers[1].Size = manifest.UnknownSize
	if _, _, err := manifest.Compose(img.Config, layers); err == nil {
		t.Error("a layer of unknown size was accepted")
	}
}
