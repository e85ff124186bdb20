//go:build linux

package loader

import (
	"encoding/json"
	"io"
	"slices"

	"github.com/clara-push/clara-push/pkg/manifest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxDocument caps a manifest or a configuration, in bytes.
const maxDocument = 8 << 20

// readDocument reads a small blob whole and verifies it.
func readDocument(r io.Reader, d manifest.Descriptor) ([]byte, error) {
	if d.Size > maxDocument {
		return nil, manifest.Fail(manifest.KindMalformed, "load", "document %s has %d bytes, at most %d are allowed", d.Digest, d.Size, maxDocument)
	}
	return io.ReadAll(verify(r, d))
}

// checkConfig sees that an image configuration is the one of the plan: its layers and its platform.
func checkConfig(raw []byte, ip manifest.ImagePlan) error {
	var config struct {
		ocispec.Platform
		RootFS struct {
			Type    string            `json:"type"`
			DiffIDs []manifest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return manifest.Fail(manifest.KindMalformed, "load", "configuration %s: %w", ip.Image.Config.Digest, err)
	}
	if !slices.Equal(config.RootFS.DiffIDs, diffIDs(ip)) {
		return wrongDocument(ip, "configuration %s names other layers than the plan", ip.Image.Config.Digest)
	}
	p := ip.Image.Platform
	if p.OS != "" && (config.OS != p.OS || config.Architecture != p.Architecture) {
		return wrongDocument(ip, "configuration %s is for %s, the plan says %s", ip.Image.Config.Digest,
			manifest.Plain(manifest.FormatPlatform(config.Platform)), manifest.Plain(manifest.FormatPlatform(p)))
	}
	return nil
}

// checkManifest sees that a manifest is the one of the plan: an image manifest with its very config and layers.
func checkManifest(raw []byte, ip manifest.ImagePlan) error {
	var m struct {
		Manifests []json.RawMessage     `json:"manifests"`
		Config    manifest.Descriptor   `json:"config"`
		Layers    []manifest.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return manifest.Fail(manifest.KindMalformed, "load", "manifest %s: %w", ip.Manifest.Digest, err)
	}
	if m.Manifests != nil {
		return wrongDocument(ip, "manifest %s is an index", ip.Manifest.Digest)
	}
	if m.Config.Digest != ip.Image.Config.Digest {
		return wrongDocument(ip, "manifest %s names another configuration than the plan", ip.Manifest.Digest)
	}
	same := func(d manifest.Descriptor, l manifest.LayerPlan) bool { return d.Digest == l.Digest }
	if !slices.EqualFunc(m.Layers, ip.Layers, same) {
		return wrongDocument(ip, "manifest %s names other layers than the plan", ip.Manifest.Digest)
	}
	return nil
}

func wrongDocument(ip manifest.ImagePlan, format string, args ...any) error {
	return manifest.Fail(manifest.KindIntegrity, "load "+ip.Image.Ref, format, args...)
}

func diffIDs(ip manifest.ImagePlan) []manifest.Digest {
	ids := make([]manifest.Digest, len(ip.Layers))
	for n, l := range ip.Layers {
		ids[n] = l.DiffID
	}
	return ids
}
