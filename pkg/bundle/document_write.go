package bundle

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// encode writes a document of at most limit bytes. encoding/json sorts the keys of maps, so the same value gives the same bytes.
func encode(v any, limit int64) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, manifest.Fail(manifest.KindInternal, "write bundle", "%w", err)
	}
	if int64(len(raw)) > limit {
		return nil, manifest.Fail(manifest.KindUsage, "write bundle", "a document of it would have %s, at most %s are allowed",
			manifest.FormatBytes(int64(len(raw))), manifest.FormatBytes(limit)).Advise("make several bundles")
	}
	return raw, nil
}

// describe is the descriptor of a document.
func describe(mediaType string, raw []byte) manifest.Descriptor {
	return manifest.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
}

// indexAnnotations are those of index.json itself.
func indexAnnotations(o WriteOptions) map[string]string {
	a := map[string]string{}
	set := func(key, value string) {
		if value != "" {
			a[key] = value
		}
	}
	set(AnnotationApplication, o.Application)
	set(AnnotationVersion, o.Version)
	set(AnnotationTool, o.Tool)
	if !o.Created.IsZero() {
		set(AnnotationCreated, o.Created.UTC().Format(time.RFC3339))
	}
	if o.Base != nil {
		set(AnnotationBase, string(o.Base.Digest))
		set(AnnotationBaseName, o.Base.Name)
	}
	return a
}

// composeIndex writes index.json over the entries of images and models.
func composeIndex(entries []manifest.Descriptor, o WriteOptions) ([]byte, error) {
	return encode(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, ArtifactType: IndexType,
		Manifests: entries, Annotations: indexAnnotations(o),
	}, maxIndex)
}

// imageEntry describes img in index.json. Only in a full bundle does it bear the names that engines go by.
func imageEntry(img manifest.Image, full bool) (manifest.Descriptor, error) {
	named, err := reference.ParseNormalizedNamed(img.Ref)
	if err != nil {
		return manifest.Descriptor{}, manifest.Fail(manifest.KindUsage, "write bundle", "%.200q is not the name of an image: %w", img.Ref, err)
	}
	d := manifest.Descriptor{MediaType: img.Manifest.MediaType, Digest: img.Manifest.Digest, Size: img.Manifest.Size}
	if p := img.Platform; p.OS != "" {
		d.Platform = &p
	}
	diffIDs, sizes := make([]string, len(img.Layers)), make([]string, len(img.Layers))
	for n, l := range img.Layers {
		diffIDs[n], sizes[n] = string(l.DiffID), strconv.FormatInt(l.Unpacked, 10)
	}
	d.Annotations = map[string]string{
		AnnotationRef: img.Ref, AnnotationDiffIDs: strings.Join(diffIDs, ","), AnnotationUnpacked: strings.Join(sizes, ","),
	}
	if full {
		d.Annotations[AnnotationImageName] = named.String()
		d.Annotations[AnnotationRefName] = img.Ref
	}
	return d, nil
}

// modelEntry describes a model in index.json. It bears no name that an engine would make an image of.
func modelEntry(name string, m manifest.Descriptor) manifest.Descriptor {
	m.ArtifactType = ModelType
	m.Annotations = map[string]string{AnnotationModel: name}
	return m
}

// composeLayout writes the oci-layout that belongs to index.
func composeLayout(index []byte) ([]byte, error) {
	return encode(layout{Version: ocispec.ImageLayoutVersion, Index: digest.FromBytes(index)}, maxLayout)
}
