package bundle

import (
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/distribution/reference"
)

// Select leaves of the artifacts only those that are named, each as "image=REF" or "model=NAME"; without any, everything
// stays. It must be called before Artifacts. It fails with KindUsage for anything else, with KindNotFound for what is not in
// the bundle.
func (b *Bundle) Select(only ...string) error {
	var images []manifest.Image
	var models []manifest.Model
	for _, o := range only {
		what, name, _ := strings.Cut(o, "=")
		switch what {
		case "image":
			ref := familiar(name)
			n := slices.IndexFunc(b.images, func(i manifest.Image) bool { return i.Ref == ref })
			if n < 0 {
				return b.noSuch("image", name)
			}
			images = append(images, b.images[n])
		case "model":
			n := slices.IndexFunc(b.models, func(m manifest.Model) bool { return m.Name == name })
			if n < 0 {
				return b.noSuch("model", name)
			}
			models = append(models, b.models[n])
		default:
			return manifest.Fail(manifest.KindUsage, "", "%q is neither an image nor a model", o).Advise("write image=REF or model=NAME")
		}
	}
	b.chosen = nil
	if len(only) > 0 {
		b.chosen = &manifest.Artifacts{Images: distinct(images, refOf), Models: distinct(models, nameOf)}
		b.chosen.Lacking = lackingOf(*b.chosen, b.lacking)
	}
	return nil
}

func refOf(i manifest.Image) string  { return i.Ref }
func nameOf(m manifest.Model) string { return m.Name }

// distinct drops what was named twice.
func distinct[T any](all []T, name func(T) string) []T {
	var kept []T
	for _, t := range all {
		if !slices.ContainsFunc(kept, func(k T) bool { return name(k) == name(t) }) {
			kept = append(kept, t)
		}
	}
	return kept
}

// familiar is the familiar form of an image's name, with its tag; what is no name stays as it is and is found nowhere.
func familiar(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}

func (b *Bundle) noSuch(what, name string) error {
	var has []string
	for _, i := range b.images {
		has = append(has, "image="+i.Ref)
	}
	for _, m := range b.models {
		has = append(has, "model="+m.Name)
	}
	f := manifest.Fail(manifest.KindNotFound, "", "it has no %s %s", what, manifest.Plain(name)).
		Advise("it has %s", strings.Join(has[:min(len(has), mostNamed)], ", "))
	return inBundle(f, b.path)
}

// lackingOf are those of lacking that a names.
func lackingOf(a manifest.Artifacts, lacking []manifest.Digest) []manifest.Digest {
	named := map[manifest.Digest]bool{}
	for _, i := range a.Images {
		for _, l := range i.Layers {
			named[l.Digest] = true
		}
	}
	for _, m := range a.Models {
		for _, f := range m.Files {
			named[f.Digest] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(lacking), func(d manifest.Digest) bool { return !named[d] })
}
