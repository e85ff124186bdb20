package bundle

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bundle is an open bundle: a source of artifacts like any other. Its methods may be called from several goroutines.
type Bundle struct {
	path             string
	form             Form
	in               container
	index, signature []byte
	doc              ocispec.Index
	created          time.Time
	images           []manifest.Image
	models           []manifest.Model
	lacking          []manifest.Digest
	sizes            map[key]int64       // of every blob that it names
	chosen           *manifest.Artifacts // by Select; nil means everything
}

// Form says how a bundle is stored.
type Form string

// The forms.
const (
	FormTar    Form = "tar"
	FormFolder Form = "folder"
	FormParts  Form = "parts"
	FormStream Form = "stream"
)

// OpenOptions say how a bundle is read. The zero value works.
type OpenOptions struct {
	// Events hears what takes long; nil is silent.
	Events manifest.Events
}

// Open opens the bundle at path: a tar, a folder, or parts: FILE.parts.json, any FILE.001, or the FILE that they make together,
// or a folder that holds them. Whatever is in it is checked, except for the bytes of layers and files, which are hashed when
// they are read. A tar is not unpacked, and nothing is written.
//
// It fails with KindNotFound when nothing is there or a part is missing, KindMalformed when it is no bundle or one that
// nobody should have made, KindIntegrity when it is damaged or cut short.
func Open(ctx context.Context, path string, _ OpenOptions) (*Bundle, error) {
	in, form, err := openContainer(ctx, path)
	if err != nil {
		return nil, inBundle(err, path)
	}
	b, err := read(ctx, in, form, path)
	if err != nil {
		in.Close()
		return nil, inBundle(err, path)
	}
	return b, nil
}

// openContainer decides by what is there.
func openContainer(ctx context.Context, path string) (container, Form, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return openParts(ctx, path)
	case err != nil:
		return nil, "", err
	case info.IsDir():
		if !hasAny(path, layoutFile, indexFile) {
			return openParts(ctx, path)
		}
		in, err := openFolder(path)
		return in, FormFolder, err
	case isPart(path):
		return openParts(ctx, path)
	case !info.Mode().IsRegular():
		return nil, "", manifest.Fail(manifest.KindUsage, stepRead, "%s is neither a file nor a folder", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	advise(f)
	in, err := indexTar(ctx, &openFile{File: f, size: info.Size()})
	if err != nil {
		f.Close()
	}
	return in, FormTar, err
}

func hasAny(dir string, names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		_, err := os.Lstat(filepath.Join(dir, n))
		return err == nil
	})
}

// read reads the documents of a bundle.
func read(ctx context.Context, in container, form Form, path string) (*Bundle, error) {
	b := &Bundle{path: path, form: form, in: in}
	var err error
	if b.index, err = document(in, indexFile, maxIndex); err != nil {
		return nil, err
	}
	if b.index == nil {
		return nil, malformed("it has no %s", indexFile)
	}
	raw, err := document(in, layoutFile, maxLayout)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, malformed("it has no %s", layoutFile)
	}
	unfit := checkLayout(raw, b.index)
	if manifest.KindOf(unfit) == manifest.KindIntegrity {
		return nil, unfit // what index.json says may be an accident
	}
	if b.doc, err = parseIndex(b.index); err != nil {
		return nil, err
	}
	if unfit != nil {
		return nil, unfit
	}
	b.created, _ = time.Parse(time.RFC3339, b.doc.Annotations[AnnotationCreated]) // parseIndex has looked
	if b.signature, err = document(in, signatureFile, maxSignature); err != nil {
		return nil, err
	}
	r := &reading{ctx: ctx, in: in, origin: "bundle " + path}
	if err := r.all(b.doc); err != nil {
		return nil, err
	}
	b.images, b.models, b.lacking, b.sizes = r.images, r.models, r.lacking, r.reached
	return b, nil
}

// Index is index.json as it was when the bundle was opened: what a signature signs.
func (b *Bundle) Index() []byte { return b.index }

// Signature is index.json.sig; nil when there is none. Nobody has looked at it yet.
func (b *Bundle) Signature() []byte { return b.signature }

// Digest is the digest of index.json, which names everything in the bundle.
func (b *Bundle) Digest() manifest.Digest { return digest.FromBytes(b.index) }

// Close closes the files, and removes what Spool has written. It may be called twice.
func (b *Bundle) Close() error { return b.in.Close() }
