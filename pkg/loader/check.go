//go:build linux

package loader

import (
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/distribution/reference"
)

// maxImages and maxLayers bound a plan; no image that an engine takes has so many layers.
const (
	maxImages = 256
	maxLayers = 4096
	maxKeep   = 1000
)

// check sees that a plan from the other side makes sense before anything of it becomes a path or a name. It fails with
// KindStale when it was made for another kind of store, else KindMalformed.
func (h *Host) check(p manifest.Plan) error {
	if store := h.Engine().Store; p.Store != store {
		return manifest.Fail(manifest.KindStale, "check plan", "it was made for the store %s, the engine has %s", manifest.Plain(string(p.Store)), store)
	}
	if len(p.Images) > maxImages || p.Keep < 0 || p.Keep > maxKeep {
		return malformed("it has %d images and keeps %d", len(p.Images), p.Keep)
	}
	if p.Provenance != nil {
		if err := manifest.CheckDigest(p.Provenance.Bundle); err != nil {
			return malformed("the bundle: %w", err)
		}
	}
	for _, ip := range p.Images {
		if err := checkImage(ip); err != nil {
			return err
		}
	}
	return nil
}

func checkImage(ip manifest.ImagePlan) error {
	if err := checkRef(ip.Image.Ref); err != nil {
		return err
	}
	digests := []manifest.Digest{ip.Image.Config.Digest}
	for _, l := range ip.Image.Layers {
		digests = append(digests, l.DiffID)
	}
	if ip.Former != "" {
		digests = append(digests, manifest.Digest(ip.Former))
	}
	switch ip.Action {
	case manifest.ActionNothing:
	case manifest.ActionTag:
		digests = append(digests, manifest.Digest(ip.Existing))
	case manifest.ActionLoad:
		if len(ip.Layers) > maxLayers || len(ip.Layers) != len(ip.Image.Layers) {
			return malformed("%s has %d layers, planned are %d", ip.Image.Ref, len(ip.Image.Layers), len(ip.Layers))
		}
		if ip.Manifest.Digest != "" {
			digests = append(digests, ip.Manifest.Digest)
		}
		for n, l := range ip.Layers {
			if l.DiffID != ip.Image.Layers[n].DiffID {
				return malformed("layer %d of %s is planned as another one", n, ip.Image.Ref)
			}
			digests = append(digests, l.Digest)
		}
	default:
		return malformed("unknown action %.20q", ip.Action)
	}
	for _, d := range digests {
		if err := manifest.CheckDigest(d); err != nil {
			return malformed("%s: %w", ip.Image.Ref, err)
		}
	}
	return nil
}

// checkRef wants a name with a tag, in the familiar form that inventories use.
func checkRef(ref string) error {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return malformed("name %.300q: %w", ref, err)
	}
	_, tagged := named.(reference.Tagged)
	_, digested := named.(reference.Digested)
	if !tagged || digested || reference.FamiliarString(named) != ref {
		return malformed("%q is not a name with a tag in its short form", ref)
	}
	return nil
}

func malformed(format string, args ...any) error {
	return manifest.Fail(manifest.KindMalformed, "check plan", format, args...)
}
