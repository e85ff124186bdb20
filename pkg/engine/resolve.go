package engine

import (
	"context"
	"encoding/json"

	"github.com/clara-push/clara-push/pkg/manifest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxDocument caps a manifest, an index or a configuration, in bytes.
const maxDocument = 8 << 20

// attestation marks a manifest of an index that only speaks about another one (BuildKit).
const attestation = "vnd.docker.reference.type"

// document is an index or a manifest; one that claims to be both is refused (CVE-2021-41190).
type document struct {
	Manifests []manifest.Descriptor `json:"manifests"`
	MediaType string                `json:"mediaType"`
	Config    *manifest.Descriptor  `json:"config"`
	Layers    []manifest.Descriptor `json:"layers"`
}

// complete reads what img's Target names: manifest, config and layers for p. The zero p means that of img.
func (c *Content) complete(ctx context.Context, img *Image, p manifest.Platform) error {
	if p.OS == "" {
		p = img.Platform
	}
	d, doc, err := c.document(ctx, img.Target)
	if err != nil {
		return err
	}
	img.Target = d
	if doc.Manifests != nil {
		var ok bool
		if d, img.Others, ok = pick(doc.Manifests, p); !ok {
			return manifest.Fail(manifest.KindNotFound, "inspect image", "%s is not there for %s", img.ID, manifest.FormatPlatform(p))
		}
		if d, doc, err = c.document(ctx, d); err != nil {
			return err
		}
	}
	if doc.Config == nil || doc.Manifests != nil {
		return manifest.Fail(manifest.KindMalformed, "inspect image", "%s is no image manifest", d.Digest)
	}
	img.Manifest, img.Config = d, *doc.Config
	return c.layers(ctx, img, doc.Layers)
}

// document reads an index or manifest, and completes its descriptor.
func (c *Content) document(ctx context.Context, d manifest.Descriptor) (manifest.Descriptor, document, error) {
	var doc document
	raw, err := c.ReadAll(ctx, d, maxDocument)
	if err != nil {
		return d, doc, err
	}
	step := "read blob " + d.Digest.String()
	if err := json.Unmarshal(raw, &doc); err != nil {
		return d, doc, manifest.Fail(manifest.KindMalformed, step, "%w", err)
	}
	if doc.Manifests != nil && (doc.Config != nil || doc.Layers != nil) {
		return d, doc, manifest.Fail(manifest.KindMalformed, step, "it is both an index and a manifest")
	}
	d.Size = int64(len(raw))
	if doc.MediaType != "" {
		d.MediaType = doc.MediaType
	}
	return d, doc, nil
}

// layers pairs the blobs of a manifest with the diffIDs of its config.
func (c *Content) layers(ctx context.Context, img *Image, blobs []manifest.Descriptor) error {
	step := "inspect image " + img.ID
	for _, d := range append([]manifest.Descriptor{img.Config}, blobs...) {
		if err := manifest.CheckDigest(d.Digest); err != nil {
			return manifest.Fail(manifest.KindMalformed, step, "%w", err)
		}
	}
	img.Layers = make([]manifest.Layer, len(blobs))
	for n, d := range blobs {
		img.Layers[n] = manifest.Layer{Descriptor: d}
	}
	raw, err := c.ReadAll(ctx, img.Config, maxDocument)
	if manifest.KindOf(err) == manifest.KindNotFound {
		img.DiffIDs = nil
		return nil // incomplete, and reported so by who asks what is missing
	}
	if err != nil {
		return err
	}
	var config ocispec.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		return manifest.Fail(manifest.KindMalformed, step, "configuration: %w", err)
	}
	if len(config.RootFS.DiffIDs) != len(blobs) {
		return manifest.Fail(manifest.KindMalformed, step, "the manifest has %d layers, the configuration %d", len(blobs), len(config.RootFS.DiffIDs))
	}
	img.Platform = config.Platform
	img.DiffIDs = config.RootFS.DiffIDs
	for n, d := range img.DiffIDs {
		if err := manifest.CheckDigest(d); err != nil {
			return manifest.Fail(manifest.KindMalformed, step, "%w", err)
		}
		img.Layers[n].DiffID = d
	}
	return nil
}

// pick chooses the manifest for p from an index and returns the others beside it. One with p's very variant wins.
func pick(list []manifest.Descriptor, p manifest.Platform) (d manifest.Descriptor, others []manifest.Descriptor, ok bool) {
	best := -1
	for n, m := range list {
		if !fits(m, p) {
			continue
		}
		if best < 0 || variant(*m.Platform) == variant(p) && variant(*list[best].Platform) != variant(p) {
			best = n
		}
	}
	for n, m := range list {
		if n != best {
			others = append(others, m)
		}
	}
	if best < 0 {
		return d, others, false
	}
	return list[best], others, true
}

// fits reports whether a manifest of an index is an image for p.
func fits(d manifest.Descriptor, p manifest.Platform) bool {
	if d.Platform == nil || d.Annotations[attestation] != "" {
		return false
	}
	return d.Platform.OS == p.OS && d.Platform.Architecture == p.Architecture && (p.Variant == "" || d.Platform.Variant == "" || variant(*d.Platform) <= variant(p))
}

// variant leaves out the one variant that goes without saying.
func variant(p manifest.Platform) string {
	if p.Architecture == "arm64" && p.Variant == "v8" {
		return ""
	}
	return p.Variant
}
