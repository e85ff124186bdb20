//go:build linux

package loader

import (
	"fmt"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

func onePlan() manifest.ImagePlan {
	layers := []manifest.Layer{
		{Descriptor: manifest.Descriptor{Digest: digest.FromString("blob 0"), Size: 6}, DiffID: digest.FromString("layer 0")},
		{Descriptor: manifest.Descriptor{Digest: digest.FromString("blob 1"), Size: 6}, DiffID: digest.FromString("layer 1")},
	}
	return manifest.ImagePlan{
		Action: manifest.ActionLoad,
		Image: manifest.Image{
			Ref: "app:1", Config: manifest.Descriptor{Digest: confDigest}, Layers: layers, Platform: manifest.Platform{OS: "linux", Architecture: "amd64"},
		},
		Layers: []manifest.LayerPlan{{Layer: layers[0], Present: true}, {Layer: layers[1]}},
	}
}

func TestCheckConfig(t *testing.T) {
	ids := fmt.Sprintf(`"rootfs":{"type":"layers","diff_ids":[%q,%q]}`, digest.FromString("layer 0"), digest.FromString("layer 1"))
	for _, tt := range []struct {
		name, raw string
		kind      manifest.Kind
	}{
		{name: "right", raw: `{"os":"linux","architecture":"amd64","variant":"v2",` + ids + `}`},
		{name: "other platform", raw: `{"os":"linux","architecture":"arm64",` + ids + `}`, kind: manifest.KindIntegrity},
		{name: "no layers", raw: `{"os":"linux","architecture":"amd64"}`, kind: manifest.KindIntegrity},
		{name: "other order", raw: fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[%q,%q]}}`, digest.FromString("layer 1"), digest.FromString("layer 0")),
			kind: manifest.KindIntegrity},
		{name: "no JSON", raw: `{"os":`, kind: manifest.KindMalformed},
	} {
		if err := checkConfig([]byte(tt.raw), onePlan()); manifest.KindOf(err) != tt.kind {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestCheckManifest(t *testing.T) {
	config := fmt.Sprintf(`"config":{"digest":%q}`, confDigest)
	layers := fmt.Sprintf(`"layers":[{"digest":%q},{"digest":%q}]`, digest.FromString("blob 0"), digest.FromString("blob 1"))
	for _, tt := range []struct {
		name, raw string
		kind      manifest.Kind
	}{
		{name: "right", raw: `{` + config + `,` + layers + `}`},
		{name: "other config", raw: fmt.Sprintf(`{"config":{"digest":%q},%s}`, layerDigest, layers), kind: manifest.KindIntegrity},
		{name: "layer left out", raw: fmt.Sprintf(`{%s,"layers":[{"digest":%q}]}`, config, digest.FromString("blob 0")), kind: manifest.KindIntegrity},
		{name: "other layer", raw: `{` + config + `,` + strings.Replace(layers, digest.FromString("blob 1").String(), layerDigest.String(), 1) + `}`, kind: manifest.KindIntegrity},
		{name: "index", raw: `{"manifests":[]}`, kind: manifest.KindIntegrity},
		{name: "both", raw: `{"manifests":[],` + config + `,` + layers + `}`, kind: manifest.KindIntegrity},
		{name: "no JSON", raw: `[]`, kind: manifest.KindMalformed},
	} {
		if err := checkManifest([]byte(tt.raw), onePlan()); manifest.KindOf(err) != tt.kind {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestReadDocument(t *testing.T) {
	d := manifest.Descriptor{Digest: confDigest, Size: int64(len(configBytes))}
	if raw, err := readDocument(strings.NewReader(string(configBytes)), d); err != nil || string(raw) != string(configBytes) {
		t.Errorf("got %q, %v", raw, err)
	}
	d.Size = maxDocument + 1
	if _, err := readDocument(failing{fmt.Errorf("it was read")}, d); manifest.KindOf(err) != manifest.KindMalformed {
		t.Errorf("too large: %v", err)
	}
}

func TestCheckImage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*manifest.ImagePlan)
		wrong  bool
	}{
		{name: "right", change: func(*manifest.ImagePlan) {}},
		{name: "registry", change: func(p *manifest.ImagePlan) { p.Image.Ref = "reg.example:5000/team/app:1" }},
		{name: "no tag", change: func(p *manifest.ImagePlan) { p.Image.Ref = "app" }, wrong: true},
		{name: "digest", change: func(p *manifest.ImagePlan) { p.Image.Ref = "app@" + confDigest.String() }, wrong: true},
		{name: "long form", change: func(p *manifest.ImagePlan) { p.Image.Ref = "docker.io/library/app:1" }, wrong: true},
		{name: "no name", change: func(p *manifest.ImagePlan) { p.Image.Ref = "-h:1" }, wrong: true},
		{name: "action", change: func(p *manifest.ImagePlan) { p.Action = "erase" }, wrong: true},
		{name: "config path", change: func(p *manifest.ImagePlan) { p.Image.Config.Digest = "sha256:../x" }, wrong: true},
		{name: "layer path", change: func(p *manifest.ImagePlan) { p.Layers[1].Digest = "../x" }, wrong: true},
		{name: "layer exchanged", change: func(p *manifest.ImagePlan) { p.Layers[1].DiffID = p.Layers[0].DiffID }, wrong: true},
		{name: "layer dropped", change: func(p *manifest.ImagePlan) { p.Layers = p.Layers[:1] }, wrong: true},
		{name: "former", change: func(p *manifest.ImagePlan) { p.Former = "app:2" }, wrong: true},
		{name: "existing", change: func(p *manifest.ImagePlan) { p.Action, p.Existing = manifest.ActionTag, "" }, wrong: true},
		{name: "manifest", change: func(p *manifest.ImagePlan) { p.Manifest.Digest = "x" }, wrong: true},
	} {
		p := onePlan()
		tt.change(&p)
		if err := checkImage(p); (manifest.KindOf(err) == manifest.KindMalformed) != tt.wrong || !tt.wrong && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
