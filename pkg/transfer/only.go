package transfer

import (
	"context"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Only is src with nothing but the images and models that s names; src itself when s names nothing.
func Only(src Source, s manifest.Selection) Source {
	if s.Empty() {
		return src
	}
	return selected{src, s}
}

type selected struct {
	Source
	selection manifest.Selection
}

// Artifacts implements Source. It fails with KindNotFound when something selected is not there.
func (s selected) Artifacts(ctx context.Context, p manifest.Platform) (manifest.Artifacts, error) {
	a, err := s.Source.Artifacts(ctx, p)
	if err != nil {
		return a, err
	}
	return a.Only(s.selection)
}
