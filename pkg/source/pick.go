package source

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
)

// maxNesting is how many indexes may stand between a name and its manifest.
const maxNesting = 4

// attestationType is the annotation by which BuildKit marks what is no image but says something about one
// (https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md).
const attestationType = "vnd.docker.reference.type"

// readDocument reads a small document by its descriptor, whole. The picker checks its digest.
type readDocument func(ctx context.Context, d manifest.Descriptor) ([]byte, error)

// picker finds the one manifest for a platform below an index.
type picker struct {
	read readDocument
	want want
	def  manifest.Platform // what is taken when nothing is wanted and there is a choice
	left []string          // what stays behind, for people
}

// picked is a manifest with its bytes' meaning and its configuration.
type picked struct {
	at     manifest.Descriptor
	doc    manifest.Document
	config []byte
}

// image picks among roots and assembles what it found.
func (p *picker) image(ctx context.Context, roots []manifest.Descriptor) (manifest.Image, error) {
	found, err := p.pick(ctx, roots, 0)
	if err != nil {
		return manifest.Image{}, err
	}
	img, err := found.doc.Image(found.at, found.config)
	if err != nil {
		return manifest.Image{}, err
	}
	if p.want.asked && !fits(p.want.Platform, img.Platform) {
		return manifest.Image{}, p.none([]manifest.Platform{img.Platform})
	}
	img.LeftBehind = p.left
	return img, nil
}

// pick chooses one of descs and follows it down to a manifest. A single one needs no platform.
func (p *picker) pick(ctx context.Context, descs []manifest.Descriptor, depth int) (picked, error) {
	if depth > maxNesting {
		return picked{}, malformed("indexes are nested deeper than %d", maxNesting)
	}
	descs = p.withoutAttestations(distinct(descs))
	switch len(descs) {
	case 0:
		return picked{}, malformed("the index names no image")
	case 1:
		return p.follow(ctx, descs[0], depth)
	}
	best, err := p.best(ctx, descs)
	if err != nil {
		return picked{}, err
	}
	return p.follow(ctx, best, depth)
}

func (p *picker) follow(ctx context.Context, d manifest.Descriptor, depth int) (picked, error) {
	doc, at, err := p.document(ctx, d)
	if err != nil {
		return picked{}, err
	}
	if doc.Config == nil {
		return p.pick(ctx, doc.Manifests, depth+1)
	}
	if !doc.IsImage() {
		return picked{}, malformed("%s is not a container image but %q", at.Digest, manifest.Plain(doc.Kind()))
	}
	config, err := p.checked(ctx, *doc.Config)
	return picked{at: at, doc: doc, config: config}, err
}

// document reads and parses what d names; at is d with the true size and type.
func (p *picker) document(ctx context.Context, d manifest.Descriptor) (doc manifest.Document, at manifest.Descriptor, err error) {
	raw, err := p.checked(ctx, d)
	if err != nil {
		return doc, at, err
	}
	doc, err = manifest.ParseDocument(raw, d.MediaType)
	return doc, manifest.Descriptor{MediaType: doc.MediaType, Digest: d.Digest, Size: int64(len(raw))}, err
}

// checked reads a document and believes it only when it has its digest and size.
func (p *picker) checked(ctx context.Context, d manifest.Descriptor) ([]byte, error) {
	if err := manifest.CheckDigest(d.Digest); err != nil {
		return nil, err
	}
	if d.Size > manifest.MaxDocument {
		return nil, malformed("the document %s has %s, more than %s", d.Digest, manifest.FormatBytes(d.Size), manifest.FormatBytes(manifest.MaxDocument))
	}
	raw, err := p.read(ctx, d)
	switch {
	case err != nil:
		return nil, err
	case digest.FromBytes(raw) != d.Digest:
		return nil, integrity("the bytes of %s have the digest %s", d.Digest, digest.FromBytes(raw))
	case d.Size > 0 && int64(len(raw)) != d.Size:
		return nil, integrity("%s has %d bytes, not %d", d.Digest, len(raw), d.Size)
	}
	return raw, nil
}

// best chooses the descriptor whose platform fits best and notes the others as left behind.
func (p *picker) best(ctx context.Context, descs []manifest.Descriptor) (manifest.Descriptor, error) {
	wanted := p.want.Platform
	if wanted.OS == "" {
		wanted = p.def
	}
	has := make([]manifest.Platform, len(descs))
	best := -1
	match := platforms.Only(wanted)
	for n, d := range descs {
		var err error
		if has[n], err = p.platform(ctx, d); err != nil {
			return manifest.Descriptor{}, err
		}
		if fits(wanted, has[n]) && (best < 0 || match.Less(has[n], has[best])) {
			best = n
		}
	}
	if best < 0 {
		p.want.Platform = wanted
		return manifest.Descriptor{}, p.none(has)
	}
	for n := range descs {
		if n != best {
			p.left = append(p.left, "the image for "+manifest.FormatPlatform(has[n]))
		}
	}
	return descs[best], nil
}

// platform tells what d is for: what its descriptor says, else what its configuration says.
func (p *picker) platform(ctx context.Context, d manifest.Descriptor) (manifest.Platform, error) {
	if d.Platform != nil && d.Platform.OS != "" {
		return manifest.Platform{
			OS: manifest.Plain(d.Platform.OS), Architecture: manifest.Plain(d.Platform.Architecture), Variant: manifest.Plain(d.Platform.Variant),
		}, nil
	}
	doc, _, err := p.document(ctx, d)
	if err != nil || !doc.IsImage() {
		return manifest.Platform{}, err
	}
	raw, err := p.checked(ctx, *doc.Config)
	if err != nil {
		return manifest.Platform{}, err
	}
	c, err := manifest.ParseConfig(raw)
	return c.PlainPlatform(), err
}

// none says which platforms there are instead of the wanted one.
func (p *picker) none(has []manifest.Platform) error {
	names := make([]string, 0, len(has))
	for _, h := range has {
		names = append(names, manifest.FormatPlatform(h))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return manifest.Fail(manifest.KindNotFound, "find image", "there is no image for %s, only for %s", manifest.FormatPlatform(p.want.Platform), strings.Join(names, ", ")).
		Advise("build it for %s, or choose with --platform", manifest.FormatPlatform(p.want.Platform))
}

// withoutAttestations drops what is no image and notes how much that was.
func (p *picker) withoutAttestations(descs []manifest.Descriptor) []manifest.Descriptor {
	kept := slices.DeleteFunc(slices.Clone(descs), isAttestation)
	if n := len(descs) - len(kept); n == 1 {
		p.left = append(p.left, "an attestation")
	} else if n > 1 {
		p.left = append(p.left, fmt.Sprintf("%d attestations", n))
	}
	return kept
}

func isAttestation(d manifest.Descriptor) bool {
	unknown := d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
	return unknown || d.Annotations[attestationType] == "attestation-manifest"
}

// distinct keeps the first of the descriptors that name the same bytes.
func distinct(descs []manifest.Descriptor) []manifest.Descriptor {
	var kept []manifest.Descriptor
	for _, d := range descs {
		if !slices.ContainsFunc(kept, func(k manifest.Descriptor) bool { return k.Digest == d.Digest }) {
			kept = append(kept, d)
		}
	}
	return kept
}

// fits reports whether an image for has runs on wanted. Another architecture never does, though some processors could.
func fits(wanted, has manifest.Platform) bool {
	w, h := platforms.Normalize(wanted), platforms.Normalize(has)
	return w.Architecture == h.Architecture && platforms.Only(w).Match(h)
}
