package manifest

import (
	"encoding/json"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Compose writes the OCI manifest of an image that consists of config and layers, whose sizes must be known. The same
// input gives the same bytes.
func Compose(config Descriptor, layers []LayerPlan) ([]byte, Descriptor, error) {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	m.Config = Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: config.Digest, Size: config.Size}
	for _, l := range layers {
		if l.Size == UnknownSize {
			return nil, Descriptor{}, Fail(KindInternal, "compose manifest", "the size of layer %s is not known", l.Digest)
		}
		m.Layers = append(m.Layers, Descriptor{MediaType: layerType(l.Layer), Digest: l.Digest, Size: l.Size})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, Descriptor{}, Fail(KindInternal, "compose manifest", "%w", err)
	}
	return raw, Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}, nil
}

// layerType gives the OCI media type for a layer that may carry Docker's.
func layerType(l Layer) string {
	switch {
	case l.Digest == l.DiffID:
		return ocispec.MediaTypeImageLayer
	case strings.HasSuffix(l.MediaType, "zstd"):
		return ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.MediaTypeImageLayerGzip
}
