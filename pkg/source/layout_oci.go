package source

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageName is the annotation in which containerd and Docker keep the full name of an image.
const imageName = "io.containerd.image.name"

// named are the entries of an index that bear one name: one image, perhaps for several platforms.
type named struct {
	name  string // may be a mere tag; empty for entries without a name
	descs []manifest.Descriptor
}

func native() manifest.Platform {
	return manifest.Platform{OS: "linux", Architecture: runtime.GOARCH}
}

// ociImage reads the image by index.json.
func (o *layoutOrigin) ociImage(ctx context.Context, w want) (manifest.Image, error) {
	raw, err := readSmall(o.in, "index.json", manifest.MaxDocument)
	if errors.Is(err, fs.ErrNotExist) {
		return manifest.Image{}, malformed("there is an oci-layout but no index.json")
	}
	if err != nil {
		return manifest.Image{}, err
	}
	doc, err := manifest.ParseDocument(raw, ocispec.MediaTypeImageIndex)
	if err != nil {
		return manifest.Image{}, err
	}
	p := &picker{read: o.readBlob, want: w, def: o.def}
	groups, err := o.groups(ctx, p, doc.Manifests)
	if err != nil {
		return manifest.Image{}, err
	}
	chosen, err := o.choose(groups)
	if err != nil {
		return manifest.Image{}, err
	}
	img, err := p.image(ctx, chosen.descs)
	img.Ref = fullName(chosen.name)
	return img, err
}

func (o *layoutOrigin) readBlob(_ context.Context, d manifest.Descriptor) ([]byte, error) {
	raw, err := readSmall(o.in, blobName(d.Digest), manifest.MaxDocument)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, manifest.Fail(manifest.KindNotFound, "read image", "the document %s is missing", d.Digest)
	}
	return raw, err
}

// groups gathers the images of an index by name. What is no image (a model, a chart) is passed over: a bundle holds both.
func (o *layoutOrigin) groups(ctx context.Context, p *picker, descs []manifest.Descriptor) ([]named, error) {
	var groups []named
	for _, d := range descs {
		if isAttestation(d) {
			p.left = append(p.left, "an attestation")
			continue
		}
		if !manifest.IsIndex(d.MediaType) {
			doc, _, err := p.document(ctx, d)
			if err != nil {
				return nil, err
			}
			if doc.Config != nil && !doc.IsImage() {
				continue
			}
		}
		name := entryName(d)
		n := slices.IndexFunc(groups, func(g named) bool { return g.name == name })
		if n < 0 {
			groups = append(groups, named{name: name, descs: []manifest.Descriptor{d}})
			continue
		}
		groups[n].descs = append(groups[n].descs, d)
	}
	return groups, nil
}

func entryName(d manifest.Descriptor) string {
	if n := d.Annotations[imageName]; n != "" {
		return n
	}
	return d.Annotations[ocispec.AnnotationRefName]
}

// fullName returns an annotated name if it names an image; a mere tag ("latest") does not.
func fullName(name string) string {
	if strings.ContainsAny(name, "/:") {
		return name
	}
	return ""
}

// choose picks the image that was asked for, or the only one.
func (o *layoutOrigin) choose(groups []named) (named, error) {
	names := make([]string, len(groups))
	for n, g := range groups {
		names[n] = g.label()
		byDigest := slices.ContainsFunc(g.descs, func(d manifest.Descriptor) bool { return string(d.Digest) == o.ref })
		if o.ref != "" && (byDigest || o.ref == g.name || (fullName(g.name) != "" && sameName(o.ref, g.name))) {
			return g, nil
		}
	}
	switch {
	case len(groups) == 0:
		return named{}, manifest.Fail(manifest.KindNotFound, "find image", "it holds no container image")
	case o.ref != "":
		return named{}, notInArchive(o.ref, names)
	case len(groups) > 1:
		return named{}, severalInArchive(o.path, names)
	}
	return groups[0], nil
}

// label names a group for people: its name, or the digest of its first entry.
func (g named) label() string {
	if g.name == "" {
		return string(g.descs[0].Digest)
	}
	return manifest.Plain(g.name)
}

// listed caps how many names a message holds.
const listed = 20

func list(names []string) string {
	if len(names) > listed {
		return strings.Join(names[:listed], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

func notInArchive(ref string, names []string) error {
	return manifest.Fail(manifest.KindNotFound, "find image", "there is no image %s in it, only %s", ref, list(names))
}

func severalInArchive(path string, names []string) error {
	force := inLayout
	if info, err := os.Stat(home(path)); err == nil && !info.IsDir() {
		force = inArchive
	}
	return manifest.Fail(manifest.KindUsage, "find image", "it holds several images: %s", list(names)).
		Advise("say which: %s%s:%s", force, path, names[0])
}
