package bundle

import (
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// modelConfig is the configuration of a ModelPack artifact, as far as we fill it
// (https://github.com/modelpack/model-spec/blob/main/schema/config-schema.json). What a model is to Triton stands in its
// config.pbtxt, which is one of the files.
type modelConfig struct {
	Descriptor struct {
		Name string `json:"name"`
	} `json:"descriptor"`
	Config  struct{} `json:"config"`
	ModelFS struct {
		Type    string            `json:"type"`
		DiffIDs []manifest.Digest `json:"diffIds"`
	} `json:"modelfs"`
}

// composeModel writes the configuration and the manifest of m: one file a layer, by path, uncompressed as the specification
// has it.
func composeModel(m manifest.Model) (config, raw []byte, err error) {
	c := modelConfig{}
	c.Descriptor.Name = m.Name
	c.ModelFS.Type, c.ModelFS.DiffIDs = "layers", []manifest.Digest{}
	doc := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ModelType,
		Layers: []manifest.Descriptor{},
	}
	for _, f := range m.Files {
		c.ModelFS.DiffIDs = append(c.ModelFS.DiffIDs, f.Digest)
		doc.Layers = append(doc.Layers, manifest.Descriptor{
			MediaType: fileType(f.Path), Digest: f.Digest, Size: f.Size, Annotations: map[string]string{AnnotationFilePath: f.Path},
		})
	}
	if config, err = encode(c, maxDocument); err != nil {
		return nil, nil, err
	}
	doc.Config = describe(ModelConfigType, config)
	if doc.Annotations, err = modelAnnotations(m); err != nil {
		return nil, nil, err
	}
	raw, err = encode(doc, maxDocument)
	return config, raw, err
}

func fileType(path string) string {
	if path == "config.pbtxt" {
		return ModelWeightConfigType
	}
	return ModelWeightType
}

func modelAnnotations(m manifest.Model) (map[string]string, error) {
	a := map[string]string{}
	for key, list := range map[string][]string{AnnotationDirs: m.Dirs, AnnotationAfter: m.After} {
		if len(list) == 0 {
			continue
		}
		raw, err := encode(list, maxDocument)
		if err != nil {
			return nil, err
		}
		a[key] = string(raw)
	}
	return a, nil
}
