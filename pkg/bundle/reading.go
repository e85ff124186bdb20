package bundle

import (
	"context"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// reading is how a bundle becomes known: from index.json down to every blob that it names. What it has read once it does not
// read again; blobs are hashed whenever they are read.
type reading struct {
	ctx    context.Context
	in     container
	origin string          // for people
	base   manifest.Digest // of a differential bundle; else empty

	images  []manifest.Image
	models  []manifest.Model
	names   map[string]bool // of images and models that were read
	reached map[key]int64   // the size of each blob that is named
	lacking []manifest.Digest
	read    int64 // bytes of documents
}

// all reads what index.json names, and sees that there is nothing else.
func (r *reading) all(x ocispec.Index) error {
	r.base, r.reached, r.names = manifest.Digest(x.Annotations[AnnotationBase]), map[key]int64{}, map[string]bool{}
	for _, e := range x.Manifests {
		if err := r.entry(e); err != nil {
			return err
		}
	}
	if s := r.in.stray(func(k key) bool { _, ok := r.reached[k]; return ok }); s != "" {
		return malformed("it has %s, which nothing in it names", s)
	}
	return r.docker()
}

func (r *reading) entry(e manifest.Descriptor) error {
	if r.ctx.Err() != nil {
		return stopped(r.ctx)
	}
	_, image := e.Annotations[AnnotationRef]
	_, model := e.Annotations[AnnotationModel]
	switch {
	case image && !model:
		return r.readImage(e)
	case model && !image:
		return r.readModel(e)
	}
	return malformed("index.json does not say whether %s is an image or a model", e.Digest)
}

// manifest reads the manifest of an image or a model.
func (r *reading) manifest(e manifest.Descriptor, name string) (manifest.Document, error) {
	raw, err := r.document(e, "the manifest of "+name)
	if err != nil {
		return manifest.Document{}, err
	}
	doc, err := manifest.ParseDocument(raw, e.MediaType)
	if err == nil && doc.MediaType != e.MediaType {
		err = malformed("the manifest of %s is %.100q, but index.json says %s", name, doc.MediaType, e.MediaType)
	}
	return doc, err
}

// document reads a blob whole, and believes it only when it has its digest.
func (r *reading) document(d manifest.Descriptor, what string) ([]byte, error) {
	if r.read += d.Size; d.Size > maxDocument || r.read > maxDocuments {
		return nil, malformed("%s makes more of manifests and configurations than %s", what, manifest.FormatBytes(maxDocuments))
	}
	if err := r.reach(d, true, what); err != nil {
		return nil, err
	}
	s, err := r.in.blob(d.Digest)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	raw, err := readWhole(s, what, d.Size)
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(raw); got != d.Digest {
		return nil, r.wrong(d.Digest, what, got)
	}
	return raw, nil
}

func (r *reading) wrong(d manifest.Digest, what string, got manifest.Digest) error {
	parts, err := r.in.guilty(r.ctx, d)
	if err != nil {
		return err
	}
	return damaged("%s (%s) is damaged%s: its bytes have the digest %s", what, d, inParts(parts), got)
}

// reach notes that the bundle names a blob. It must be there, with its size; or else the bundle must be a differential one and
// the blob no document.
func (r *reading) reach(d manifest.Descriptor, must bool, what string) error {
	if known, ok := r.reached[keyOf(d.Digest)]; ok && known != d.Size {
		return malformed("%s (%s) has two sizes: %d and %d", what, d.Digest, known, d.Size)
	} else if ok {
		return nil
	}
	r.reached[keyOf(d.Digest)] = d.Size
	size, ok := r.in.size(d.Digest)
	switch {
	case !ok && (must || r.base == ""):
		return damaged("it is incomplete: %s (%s) is missing", what, d.Digest)
	case !ok:
		r.lacking = append(r.lacking, d.Digest)
	case size != d.Size:
		return damaged("%s (%s) has %d bytes instead of %d", what, d.Digest, size, d.Size)
	}
	return nil
}

// docker compares manifest.json with what follows from index.json.
func (r *reading) docker() error {
	raw, err := document(r.in, dockerFile, maxDocument)
	if raw == nil || err != nil {
		return err
	}
	if r.base != "" {
		return malformed("a differential bundle has a %s, by which engines would take it for whole", dockerFile)
	}
	want, err := deriveDocker(r.images)
	if err != nil {
		return err
	}
	if string(raw) != string(want) {
		return malformed("%s is not what follows from index.json", dockerFile)
	}
	return nil
}
