package bundle

import (
	"github.com/clara-push/clara-push/pkg/manifest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// named is what a bundle that comes as a stream names so far: what index.json names, then what the manifests name that have
// come. Where they disagree, reading finds it.
type named struct {
	sizes     map[key]int64
	manifests map[key]string // media types of those that have not come yet
}

func newNamed(x ocispec.Index) *named {
	n := &named{sizes: map[key]int64{}, manifests: map[key]string{}}
	for _, e := range x.Manifests {
		n.sizes[keyOf(e.Digest)], n.manifests[keyOf(e.Digest)] = e.Size, e.MediaType
	}
	return n
}

// check decides whether a blob belongs to the bundle, before it is kept.
func (n *named) check(d manifest.Digest, size int64) error {
	want, ok := n.sizes[keyOf(d)]
	switch {
	case !ok && len(n.manifests) > 0:
		return damaged("it is incomplete, or not in order: %s comes before a manifest that index.json names", blobPath(d))
	case !ok:
		return malformed("it has %s, which nothing before it names", blobPath(d))
	case size != want:
		return damaged("%s has %d bytes instead of %d", d, size, want)
	}
	return nil
}

// learn reads what the blob d names, if it is a manifest.
func (n *named) learn(in container, d manifest.Digest) error {
	mediaType, ok := n.manifests[keyOf(d)]
	if !ok {
		return nil
	}
	delete(n.manifests, keyOf(d))
	s, err := in.blob(d)
	if err != nil {
		return err
	}
	defer s.Close()
	raw, err := readWhole(s, "the manifest "+string(d), maxDocument)
	if err != nil {
		return err
	}
	doc, err := manifest.ParseDocument(raw, mediaType)
	if err != nil {
		return err
	}
	if c := doc.Config; c != nil && c.Size > maxDocument {
		return malformed("the configuration %s cannot have %d bytes", c.Digest, c.Size)
	} else if c != nil {
		n.sizes[keyOf(c.Digest)] = c.Size
	}
	for _, l := range doc.Layers {
		n.sizes[keyOf(l.Digest)] = l.Size
	}
	return nil
}
