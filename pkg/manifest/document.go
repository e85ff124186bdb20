package manifest

import (
	"encoding/json"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxDocument is the most bytes that a manifest, index or image configuration may have. Registries stop at 4 MiB.
const MaxDocument = 8 << 20

// MaxNamed is the most blobs that the manifest of an image may name before it is taken for an attack; engines stop far below.
const MaxNamed = 4096

// Docker's media types, which the OCI ones were made from.
const (
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerSchema1  = "application/vnd.docker.distribution.manifest.v1"
	dockerLayer    = "application/vnd.docker.image.rootfs."
	ociLayer       = "application/vnd.oci.image.layer."
)

// Document is a manifest or an index: what they have in common and where they differ.
type Document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *Descriptor       `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Manifests     []Descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations"`
	FSLayers      []json.RawMessage `json:"fsLayers"`
}

// documentNames are the keys that make a Document, and those of the descriptors in it.
var documentNames = []string{
	"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "annotations", "fsLayers", "digest", "size", "platform",
}

// ParseDocument reads a manifest or index of the given media type, which may be empty. Every digest and size in it has been
// looked at. One that could be taken for both is refused: two readers would see two different images under one digest
// (CVE-2021-41190). It fails with KindMalformed.
func ParseDocument(raw []byte, mediaType string) (Document, error) {
	var d Document
	if err := CheckJSON(raw, documentNames...); err != nil {
		return d, err
	}
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
	case IsIndex(d.MediaType) && d.Config != nil, IsManifest(d.MediaType) && d.Manifests != nil,
		IsIndex(mediaType) && d.Config != nil, IsManifest(mediaType) && d.Manifests != nil:
		return d, malformed("the document is not what its media type says")
	}
	if d.MediaType == "" {
		d.MediaType = mediaType
	}
	return d, d.check()
}

// check looks at every descriptor before one of them becomes a path or a length.
func (d Document) check() error {
	all := append(append([]Descriptor{}, d.Layers...), d.Manifests...)
	if d.Config != nil {
		all = append(all, *d.Config)
	}
	limit := MaxNamed
	if d.ArtifactType != "" && d.Config != nil && !d.IsImage() {
		limit = MaxModelFiles + 1 // and its configuration
	}
	if len(all) > limit {
		return malformed("the manifest names %d blobs", len(all))
	}
	for _, e := range all {
		if err := CheckDigest(e.Digest); err != nil {
			return err
		}
		if e.Size < 0 || e.Size > 1<<50 {
			return malformed("the blob %s cannot have %d bytes", e.Digest, e.Size)
		}
	}
	return nil
}

// IsIndex reports whether mediaType is that of an index.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == DockerList
}

// IsManifest reports whether mediaType is that of a manifest.
func IsManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == DockerManifest
}

// IsImage reports whether the manifest describes a container image, not a model, a chart or an attestation.
func (d Document) IsImage() bool {
	return d.Config != nil && (d.Config.MediaType == ocispec.MediaTypeImageConfig || d.Config.MediaType == dockerConfig)
}

// Kind names what a manifest holds, for people.
func (d Document) Kind() string {
	switch {
	case d.ArtifactType != "":
		return d.ArtifactType
	case d.Config != nil && d.Config.MediaType != "":
		return d.Config.MediaType
	}
	return "something without a type"
}

// Image makes an Image of a manifest, whose descriptor is at, and its configuration, pairing layers and diffIDs by position.
// The bytes stay as they are: the descriptor keeps their digest. It fails with KindIntegrity when config is not the manifest's,
// with KindMalformed when the two do not fit.
func (d Document) Image(at Descriptor, config []byte) (Image, error) {
	if !d.IsImage() {
		return Image{}, malformed("%s is not a container image but %q", at.Digest, Plain(d.Kind()))
	}
	if got := digest.FromBytes(config); got != d.Config.Digest {
		return Image{}, Fail(KindIntegrity, "read image", "the image configuration is %s, not %s", got, d.Config.Digest)
	}
	c, err := ParseConfig(config)
	if err != nil {
		return Image{}, err
	}
	if len(d.Layers) != len(c.RootFS.DiffIDs) {
		return Image{}, malformed("the manifest has %d layers, its configuration %d", len(d.Layers), len(c.RootFS.DiffIDs))
	}
	img := Image{Config: bare(*d.Config), Platform: c.PlainPlatform()}
	img.Manifest = Descriptor{MediaType: d.MediaType, Digest: at.Digest, Size: at.Size}
	for n, l := range d.Layers {
		if !isLayer(l.MediaType) {
			return Image{}, malformed("layer %d of the image is %q, which no engine unpacks", n, Plain(l.MediaType))
		}
		img.Layers = append(img.Layers, Layer{Descriptor: bare(l), DiffID: c.RootFS.DiffIDs[n]})
	}
	return img, nil
}

// ImageConfig is what matters of an image configuration.
type ImageConfig struct {
	Platform
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []Digest `json:"diff_ids"`
	} `json:"rootfs"`
}

// configNames are the keys that make an ImageConfig.
var configNames = []string{"architecture", "os", "variant", "rootfs", "type", "diff_ids"}

// ParseConfig reads an image configuration, all diffIDs of which are checked. It fails with KindMalformed.
func ParseConfig(raw []byte) (ImageConfig, error) {
	var c ImageConfig
	if err := CheckJSON(raw, configNames...); err != nil {
		return c, err
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, malformed("the image configuration is not JSON: %w", err)
	}
	if c.RootFS.Type != "layers" || len(c.RootFS.DiffIDs) > MaxNamed {
		return c, malformed("the image configuration has a root file system of type %.40q and %d layers", c.RootFS.Type, len(c.RootFS.DiffIDs))
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := CheckDigest(d); err != nil {
			return c, err
		}
	}
	return c, nil
}

// PlainPlatform is the platform that c is for, safe to print.
func (c ImageConfig) PlainPlatform() Platform {
	return Platform{OS: Plain(c.OS), Architecture: Plain(c.Architecture), Variant: Plain(c.Variant)}
}

// bare keeps of a descriptor what names the blob; annotations and embedded data have no place on the way.
func bare(d Descriptor) Descriptor {
	return Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

func isLayer(mediaType string) bool {
	known := strings.HasPrefix(mediaType, ociLayer) || strings.HasPrefix(mediaType, dockerLayer)
	return known && !strings.HasSuffix(mediaType, "+encrypted")
}

func malformed(format string, args ...any) error {
	return Fail(KindMalformed, "read image", format, args...)
}
