package source

import (
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// indexOf adds an index of entries to blobs and describes it.
func indexOf(blobs archive, entries ...manifest.Descriptor) (archive, manifest.Descriptor) {
	raw := encode(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: entries})
	d := describe(ocispec.MediaTypeImageIndex, raw)
	return blobs.with(blobName(d.Digest), raw), d
}

func TestPlatforms(t *testing.T) {
	noEngine(t)
	amd, arm := makeImage(t, 30, 2, "amd64", gzipped), makeImage(t, 31, 2, "arm64", gzipped)
	blobs, a := amd.blobs()
	more, b := arm.blobs()
	blobs = append(blobs, more...)
	attestation := describe(ocispec.MediaTypeImageManifest, []byte(`{"schemaVersion":2}`))
	attestation.Platform = &manifest.Platform{OS: "unknown", Architecture: "unknown"}
	attestation.Annotations = map[string]string{attestationType: "attestation-manifest"}
	bare := func(d manifest.Descriptor) manifest.Descriptor { d.Platform = nil; return d }
	v := func(d manifest.Descriptor, variant string) manifest.Descriptor {
		p := *d.Platform
		p.Variant = variant
		d.Platform = &p
		return d
	}
	wrap := func(entries ...manifest.Descriptor) archive {
		all, d := indexOf(blobs, entries...)
		return layout(all, nameIt(d, "app:1"))
	}
	deep := func(depth int) archive {
		all, d := blobs, a
		for range depth {
			all, d = indexOf(all, d)
		}
		return layout(all, nameIt(d, "app:1"))
	}
	for name, c := range map[string]struct {
		archive archive
		asked   string // --platform
		host    string
		want    *made
		left    []string
		kind    manifest.Kind
		says    string
	}{
		"host":                     {wrap(a, b), "", "amd64", &amd, []string{"the image for linux/arm64"}, "", ""},
		"other host":               {wrap(a, b), "", "arm64", &arm, []string{"the image for linux/amd64"}, "", ""},
		"asked":                    {wrap(a, b), "arm64", "amd64", &arm, []string{"the image for linux/amd64"}, "", ""},
		"attestations":             {wrap(a, attestation), "", "amd64", &amd, []string{"an attestation"}, "", ""},
		"only one, foreign":        {wrap(b, attestation), "", "amd64", &arm, []string{"an attestation"}, "", ""}, // the plan refuses it
		"only one, foreign, asked": {wrap(b), "amd64", "arm64", nil, nil, manifest.KindNotFound, "only for linux/arm64"},
		"none":                     {wrap(a, b), "", "riscv64", nil, nil, manifest.KindNotFound, "linux/amd64, linux/arm64"},
		"variant":                  {wrap(a, v(b, "v8")), "", "arm64", &arm, []string{"the image for linux/amd64"}, "", ""},
		"no platforms told":        {wrap(bare(a), bare(b)), "", "arm64", &arm, []string{"the image for linux/amd64"}, "", ""},
		"two entries in a layout":  {layout(blobs, nameIt(a, "app:1"), nameIt(b, "app:1")), "", "arm64", &arm, []string{"the image for linux/amd64"}, "", ""},
		"one image twice":          {layout(blobs, nameIt(a, "app:1"), nameIt(a, "app:1")), "", "amd64", &amd, nil, "", ""},
		"nested":                   {deep(3), "", "amd64", &amd, nil, "", ""},
		"nested too deep":          {deep(7), "", "amd64", nil, nil, manifest.KindMalformed, "nested"},
		"only attestations":        {wrap(attestation), "", "amd64", nil, nil, manifest.KindMalformed, "no image"},
		"manifest, foreign, asked": {layout(blobs, nameIt(a, "app:1")), "arm64", "amd64", nil, nil, manifest.KindNotFound, "only for linux/amd64"},
		"docker, foreign, asked":   {amd.docker("app:1"), "arm64", "amd64", nil, nil, manifest.KindNotFound, "only for linux/amd64"},
	} {
		t.Run(name, func(t *testing.T) {
			var o Options
			if c.asked != "" {
				o.Platform = manifest.Platform{OS: "linux", Architecture: c.asked}
			}
			s, err := open(t, o, file(t, "a.tar", c.archive.tar(t)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Artifacts(t.Context(), manifest.Platform{OS: "linux", Architecture: c.host})
			if manifest.KindOf(err) != c.kind || (err != nil && !strings.Contains(err.Error(), c.says)) {
				t.Fatalf("%s: %v; want %s, with %q", manifest.KindOf(err), err, c.kind, c.says)
			}
			if c.want == nil {
				return
			}
			img := got.Images[0]
			if img.Config.Digest != c.want.configDigest() || img.Platform.Architecture != c.want.arch {
				t.Errorf("config %s for %v", img.Config.Digest, img.Platform)
			}
			if !slices.Equal(img.LeftBehind, c.left) {
				t.Errorf("left behind: %q, want %q", img.LeftBehind, c.left)
			}
		})
	}
}

func TestFits(t *testing.T) {
	p := func(arch, variant string) manifest.Platform {
		return manifest.Platform{OS: "linux", Architecture: arch, Variant: variant}
	}
	for _, c := range []struct {
		wanted, has manifest.Platform
		fits        bool
	}{
		{p("amd64", ""), p("amd64", ""), true},
		{p("amd64", ""), p("386", ""), false},
		{p("arm64", ""), p("arm64", "v8"), true},
		{p("arm64", "v8"), p("arm64", ""), true},
		{p("arm64", ""), p("arm", "v7"), false},
		{p("arm", "v7"), p("arm", "v6"), true},
		{p("arm", "v6"), p("arm", "v7"), false},
		{p("amd64", ""), manifest.Platform{OS: "windows", Architecture: "amd64"}, false},
		{p("amd64", ""), manifest.Platform{}, false},
	} {
		if got := fits(c.wanted, c.has); got != c.fits {
			t.Errorf("fits(%v, %v) = %v", c.wanted, c.has, got)
		}
	}
}
