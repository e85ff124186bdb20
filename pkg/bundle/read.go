package bundle

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Artifacts tells what is in the bundle, or what Select has left of it. The platform is not asked: an image in a bundle is for
// one. Signer and Key of the provenance are for who has checked the signature.
func (b *Bundle) Artifacts(context.Context, manifest.Platform) (manifest.Artifacts, error) {
	a := manifest.Artifacts{Images: b.images, Models: b.models, Lacking: b.lacking}
	if b.chosen != nil {
		a = *b.chosen
	}
	a.Provenance = &manifest.Provenance{
		Bundle: b.Digest(), Application: b.doc.Annotations[AnnotationApplication], Version: b.doc.Annotations[AnnotationVersion],
		Created: b.created, Base: b.doc.Annotations[AnnotationBaseName],
	}
	return a, nil
}

// Open reads the blob d from offset on, and hashes it when it is read from the start. It fails with KindNotFound for a blob
// that the bundle lacks, with KindIntegrity when the bytes are too few, too many or wrong; then the last of them are withheld.
func (b *Bundle) Open(_ context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error) {
	if err := manifest.CheckDigest(d.Digest); err != nil {
		return nil, inBundle(err, b.path)
	}
	size, ok := b.sizes[keyOf(d.Digest)]
	if !ok {
		return nil, inBundle(manifest.Fail(manifest.KindNotFound, stepRead, "it has nothing to do with %s", d.Digest), b.path)
	}
	if d.Size != manifest.UnknownSize && d.Size != size {
		return nil, inBundle(damaged("%s has %d bytes instead of %d", d.Digest, size, d.Size), b.path)
	}
	if offset < 0 || offset > size {
		return nil, manifest.Fail(manifest.KindInternal, stepRead, "%s has no byte %d", d.Digest, offset)
	}
	s, err := b.section(d.Digest, size)
	if err != nil {
		return nil, inBundle(err, b.path)
	}
	d.Size = size
	return manifest.NewChecked(onward{io.NewSectionReader(s, offset, size-offset), s}, d, offset), nil
}

// onward reads a section from somewhere on.
type onward struct {
	io.Reader
	io.Closer
}

// Read blames the medium for what the system says of it.
func (o onward) Read(p []byte) (int, error) {
	n, err := o.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = unreadable(err)
	}
	return n, err
}

// section opens a blob that must have size bytes.
func (b *Bundle) section(d manifest.Digest, size int64) (section, error) {
	s, err := b.in.blob(d)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, manifest.Fail(manifest.KindNotFound, stepRead, "it does not have %s", d)
	case err != nil:
		return nil, err
	case s.Size() != size:
		s.Close()
		return nil, damaged("%s has %d bytes instead of %d", d, s.Size(), size)
	}
	return s, nil
}
