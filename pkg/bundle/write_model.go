package bundle

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clara-push/clara-push/pkg/manifest"
)

const modelManifestType = ocispec.MediaTypeImageManifest

// composedModel is a model as the bundle has it.
type composedModel struct {
	manifest.Model
	manifest, config []byte
	files            []blob
}

func composeModels(src Source, models []manifest.Model) ([]composedModel, error) {
	var all []composedModel
	for _, m := range models {
		c := composedModel{Model: m}
		var err error
		if c.config, c.manifest, err = composeModel(m); err != nil {
			return nil, err
		}
		for _, f := range m.Files {
			c.files = append(c.files, fromSource(src, f.Descriptor))
		}
		all = append(all, c)
	}
	return all, nil
}
