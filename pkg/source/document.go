package source

import (
	"encoding/json"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxDocument is the most bytes that a manifest, index or image configuration may have. Registries stop at 4 MiB.
const maxDocument = 8 << 20

// maxLayers is the most layers that a manifest may name before it is taken for an attack; engines stop far below.
const maxLayers = 4096

// Docker's media types, which the OCI ones were made from.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerSchema1  = "application/vnd.docker.distribution.manifest.v1"
	dockerLayer    = "application/vnd.docker.image.rootfs."
	ociLayer       = "application/vnd.oci.image.layer."
	ociConfig      = ocispec.MediaTypeImageConfig
)

// document is a manifest or an index: what they have in common and where they differ.
type document struct {
	SchemaVersion int                   `json:"schemaVersion"`
	MediaType     string                `json:"mediaType"`
	ArtifactType  string                `json:"artifactType"`
	Config        *manifest.Descriptor  `json:"config"`
	Layers        []manifest.Descriptor `json:"layers"`
	Manifests     []manifest.Descriptor `json:"manifests"`
	FSLayers      []json.RawMessage     `json:"fsLayers"`
}

// parseDocument reads a manifest or index. One that could be taken for both is refused: two readers would see two
// different images under one digest (CVE-2021-41190).
func parseDocument(raw []byte, mediaType string) (document, error) {
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return d, malformed("the manifest is not JSON: %w", err)
	}
	switch {
	case d.FSLayers != nil || d.SchemaVersion == 1 || strings.HasPrefix(mediaType, dockerSchema1):
		return d, malformed("the manifest has schema 1, which no engine of today loads")
	case d.Config != nil && d.Manifests != nil, d.Layers != nil && d.Manifests != nil:
		return d, malformed("the document is a manifest and an index at once")
	case d.Config == nil && d.Manifests == nil:
		return d, malformed("the document is neither a manifest nor an index")
	case isIndex(d.MediaType) && d.Config != nil, isManifest(d.MediaType) && d.Manifests != nil,
		isIndex(mediaType) && d.Config != nil, isManifest(mediaType) && d.Manifests != nil:
		return d, malformed("the document is not what its media type says")
	}
	if d.MediaType == "" {
		d.MediaType = mediaType
	}
	return d, d.check()
}

// check looks at every descriptor before one of them becomes a path or a length.
func (d document) check() error {
	all := append(append([]manifest.Descriptor{}, d.Layers...), d.Manifests...)
	if d.Config != nil {
		all = append(all, *d.Config)
	}
	if len(all) > maxLayers {
		return malformed("the manifest names %d blobs", len(all))
	}
	for _, e := range all {
		if err := manifest.CheckDigest(e.Digest); err != nil {
			return err
		}
		if e.Size < 0 || e.Size > 1<<50 {
			return malformed("the blob %s cannot have %d bytes", e.Digest, e.Size)
		}
	}
	return nil
}

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerList
}

func isManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest
}

// isImage reports whether the manifest describes a container image, not a model, a chart or an attestation.
func (d document) isImage() bool {
	return d.Config != nil && (d.Config.MediaType == ocispec.MediaTypeImageConfig || d.Config.MediaType == dockerConfig)
}

// imageConfig is what matters of an image configuration.
type imageConfig struct {
	ocispec.Platform
	RootFS struct {
		Type    string            `json:"type"`
		DiffIDs []manifest.Digest `json:"diff_ids"`
	} `json:"rootfs"`
	History []struct {
		Empty bool `json:"empty_layer"`
	} `json:"history"`
}

func parseConfig(raw []byte) (imageConfig, error) {
	var c imageConfig
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, malformed("the image configuration is not JSON: %w", err)
	}
	if c.RootFS.Type != "layers" || len(c.RootFS.DiffIDs) > maxLayers {
		return c, malformed("the image configuration has a root file system of type %.40q and %d layers", c.RootFS.Type, len(c.RootFS.DiffIDs))
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := manifest.CheckDigest(d); err != nil {
			return c, err
		}
	}
	return c, nil
}

// assemble makes an Image of a manifest and its configuration, pairing layers and diffIDs by position. The bytes stay as
// they are: the descriptor keeps their digest.
func assemble(d document, at manifest.Descriptor, config []byte) (manifest.Image, error) {
	if !d.isImage() {
		return manifest.Image{}, malformed("%s is not a container image but %q", at.Digest, manifest.Plain(d.kind()))
	}
	if got := digest.FromBytes(config); got != d.Config.Digest {
		return manifest.Image{}, integrity("the image configuration is %s, not %s", got, d.Config.Digest)
	}
	c, err := parseConfig(config)
	if err != nil {
		return manifest.Image{}, err
	}
	if len(d.Layers) != len(c.RootFS.DiffIDs) {
		return manifest.Image{}, malformed("the manifest has %d layers, its configuration %d", len(d.Layers), len(c.RootFS.DiffIDs))
	}
	img := manifest.Image{Config: bare(*d.Config), Platform: platformOf(c)}
	img.Manifest = manifest.Descriptor{MediaType: d.MediaType, Digest: at.Digest, Size: at.Size}
	for n, l := range d.Layers {
		if !isLayer(l.MediaType) {
			return manifest.Image{}, malformed("layer %d of the image is %q, which no engine unpacks", n, manifest.Plain(l.MediaType))
		}
		img.Layers = append(img.Layers, manifest.Layer{Descriptor: bare(l), DiffID: c.RootFS.DiffIDs[n]})
	}
	return img, nil
}

// kind names what a manifest holds, for people.
func (d document) kind() string {
	switch {
	case d.ArtifactType != "":
		return d.ArtifactType
	case d.Config != nil && d.Config.MediaType != "":
		return d.Config.MediaType
	}
	return "something without a type"
}

// bare keeps of a descriptor what names the blob; annotations and embedded data have no place on the way.
func bare(d manifest.Descriptor) manifest.Descriptor {
	return manifest.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

func platformOf(c imageConfig) manifest.Platform {
	return manifest.Platform{OS: manifest.Plain(c.OS), Architecture: manifest.Plain(c.Architecture), Variant: manifest.Plain(c.Variant)}
}

func isLayer(mediaType string) bool {
	known := strings.HasPrefix(mediaType, ociLayer) || strings.HasPrefix(mediaType, dockerLayer)
	return known && !strings.HasSuffix(mediaType, "+encrypted")
}

func malformed(format string, args ...any) error {
	return manifest.Fail(manifest.KindMalformed, "read image", format, args...)
}

func integrity(format string, args ...any) error {
	return manifest.Fail(manifest.KindIntegrity, "read image", format, args...)
}
