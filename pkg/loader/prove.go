//go:build linux

package loader

import (
	"context"
	"fmt"
	"slices"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// identity is what an image must prove to be.
type identity struct {
	Ref      string            `json:"ref"` // for people
	Platform manifest.Platform `json:"platform"`
	Config   manifest.Digest   `json:"config"`
	Manifest manifest.Digest   `json:"manifest,omitempty"` // empty where any will do
	DiffIDs  []manifest.Digest `json:"diffIDs"`
}

func identityOf(ip manifest.ImagePlan) identity {
	return identity{ip.Image.Ref, ip.Image.Platform, ip.Image.Config.Digest, ip.Manifest.Digest, ip.Image.DiffIDs()}
}

// prove shows that the engine's image id is the whole image that is wanted. What an engine printed while it loaded counts for
// nothing. It fails with KindStale when blobs are missing or the image is gone, KindIntegrity when it is another image,
// KindEngine when no container can be made of it.
func (h *Host) prove(ctx context.Context, id string, want identity, ev manifest.Events) (placed, error) {
	step := "prove " + want.Ref
	ev.Say(manifest.StepProve, want.Ref, "proving")
	img, err := h.engine.Image(ctx, id, want.Platform)
	if manifest.KindOf(err) == manifest.KindNotFound {
		return placed{}, manifest.Fail(manifest.KindStale, step, "the engine has no whole image %s: %w", id, err)
	}
	if err != nil {
		return placed{}, err
	}
	if len(img.Missing) > 0 {
		f := manifest.Fail(manifest.KindStale, step, "the engine lacks %d of its blobs, the first is %s", len(img.Missing), img.Missing[0])
		f.Absent = img.Missing
		return placed{}, f
	}
	store := h.engine.Describe().Store
	known := img.Config.Digest != "" // else the manifest's digest must vouch for it
	if known && img.Config.Digest != want.Config || !known && img.ID != string(want.Manifest) {
		return placed{}, manifest.Fail(manifest.KindIntegrity, step, "the engine's image %s has configuration %s instead of %s", id, img.Config.Digest, want.Config)
	}
	if !slices.Equal(img.DiffIDs, want.DiffIDs) {
		return placed{}, manifest.Fail(manifest.KindIntegrity, step, "the engine's image %s has other layers than the plan", id)
	}
	proof := []string{fmt.Sprintf("configuration %s and its %d layers are those of the source", want.Config, len(img.DiffIDs))}
	if store == manifest.StoreContainerd && want.Manifest != "" && known {
		if img.Manifest.Digest != want.Manifest {
			return placed{}, manifest.Fail(manifest.KindIntegrity, step, "the engine's image %s has manifest %s instead of %s", id, img.Manifest.Digest, want.Manifest)
		}
		proof = append(proof, fmt.Sprintf("manifest %s is the planned one", want.Manifest))
	}
	if h.engine.Content() != nil {
		proof = append(proof, "all blobs that its manifest names are in the engine's store")
	}
	if err := h.engine.TryCreate(ctx, img.ID, want.Platform); err != nil {
		return placed{}, err
	}
	return placed{image: img, proof: append(proof, "a container can be created from it")}, nil
}
