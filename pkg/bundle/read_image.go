package bundle

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/distribution/reference"
)

// readImage reads the image that an entry of index.json is about: what the entry says must agree with the manifest, and the
// manifest with the configuration.
func (r *reading) readImage(e manifest.Descriptor) error {
	ref, err := checkRef(e.Annotations[AnnotationRef])
	if err != nil {
		return err
	}
	if r.names["image "+ref] {
		return malformed("it has two images named %s", ref)
	}
	r.names["image "+ref] = true
	if err := checkNames(e, ref, r.base != ""); err != nil {
		return err
	}
	doc, err := r.manifest(e, ref)
	if err != nil {
		return err
	}
	if !doc.IsImage() || e.ArtifactType != "" {
		return malformed("%s is not a container image but %.100q", ref, doc.Kind())
	}
	config, err := r.document(*doc.Config, "the configuration of "+ref)
	if err != nil {
		return err
	}
	img, err := doc.Image(manifest.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size}, config)
	if err != nil {
		return err
	}
	img.Ref, img.Origin = ref, r.origin
	if err := agree(&img, e); err != nil {
		return err
	}
	for n, l := range img.Layers {
		if err := r.reach(l.Descriptor, false, fmt.Sprintf("layer %d of %s", n, ref)); err != nil {
			return err
		}
	}
	r.images = append(r.images, img)
	return nil
}

// checkRef wants the name of an image in its familiar form, with a tag.
func checkRef(ref string) (string, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", malformed("%.200q is not the name of an image: %w", ref, err)
	}
	tagged, ok := named.(reference.NamedTagged)
	if _, digested := named.(reference.Digested); !ok || digested || reference.FamiliarString(tagged) != ref {
		return "", malformed("%.200q is not the name of an image with its tag", ref)
	}
	return ref, nil
}

// checkNames sees that the names that engines go by are the one that we go by; a differential bundle must have none of them.
func checkNames(e manifest.Descriptor, ref string, differential bool) error {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return err
	}
	for name, want := range map[string]string{AnnotationImageName: named.String(), AnnotationRefName: ref} {
		switch got, has := e.Annotations[name]; {
		case has && differential:
			return malformed("a differential bundle gives an image the name %.200q, under which engines would take it for whole", got)
		case has && got != want:
			return malformed("the image %s has another name to engines: %.200q", ref, got)
		}
	}
	return nil
}

// agree compares what index.json says of an image with what its manifest and configuration say, and takes over the
// uncompressed sizes, which only index.json tells.
func agree(img *manifest.Image, e manifest.Descriptor) error {
	if p := e.Platform; p != nil && (p.OS != img.Platform.OS || p.Architecture != img.Platform.Architecture || p.Variant != img.Platform.Variant) {
		return malformed("%s is for %s, but index.json says %s", img.Ref, manifest.FormatPlatform(img.Platform), manifest.Plain(manifest.FormatPlatform(*p)))
	}
	diffIDs := items(e.Annotations[AnnotationDiffIDs])
	if !slices.EqualFunc(diffIDs, img.DiffIDs(), func(a string, b manifest.Digest) bool { return a == string(b) }) {
		return malformed("index.json names other layers of %s than its configuration", img.Ref)
	}
	sizes := items(e.Annotations[AnnotationUnpacked])
	if len(sizes) != len(img.Layers) {
		return malformed("index.json tells the sizes of %d layers of %s, which has %d", len(sizes), img.Ref, len(img.Layers))
	}
	for n, s := range sizes {
		l := &img.Layers[n]
		size, err := strconv.ParseInt(s, 10, 64)
		if err != nil || size < 0 || size > maxBlob || s != strconv.FormatInt(size, 10) {
			return malformed("layer %d of %s cannot unpack to %.40q bytes", n, img.Ref, s)
		}
		if l.Digest == l.DiffID && size != 0 && size != l.Size {
			return malformed("layer %d of %s is not compressed, but has two sizes: %d and %d", n, img.Ref, l.Size, size)
		}
		l.Unpacked = size
	}
	return nil
}

// items are the items of a list in an annotation.
func items(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
