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
	// Admit decides whether the bundle may be used; nil lets every one pass. It is called once, when index.json and its
	// signature (nil without one) have been read, and before anything else in the bundle is used or kept. Created is the time
	// that the bundle claims for itself, zero where it claims none. What Admit fails with is returned as it is.
	Admit func(ctx context.Context, index, signature []byte, created time.Time) error
}

// Open opens the bundle at path: a tar, a folder, or parts: FILE.parts.json, any FILE.001, or the FILE that they make together,
// or a folder that holds them. Whatever is in it is checked, except for the bytes of layers and files, which are hashed when
// they are read. A tar is not unpacked, and nothing is written.
//
// It fails with KindNotFound when nothing is there or a part is missing, KindMalformed when it is no bundle or one that
// nobody should have made, KindIntegrity when it is damaged or cut short.
func Open(ctx context.Context, path string, o OpenOptions) (*Bundle, error) {
	in, form, err := openContainer(ctx, path)
	if err != nil {
		return nil, inBundle(err, path)
	}
	b, err := read(ctx, in, form, path, o)
	if err != nil {
		err = accuse(ctx, in, err)
		in.Close()
		return nil, inBundle(err, path)
	}
	return b, nil
}

// accuse names the parts by whose fault a bundle in parts cannot be read.
func accuse(ctx context.Context, in container, err error) error {
	if t, ok := in.(*tarFile); ok {
		if j, ok := t.whole.(*joined); ok {
			return j.accuse(ctx, err)
		}
	}
	return err
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
		if m := partNumber.FindStringSubmatch(path); m != nil && manifest.KindOf(err) != manifest.KindInterrupted && !isBundleTar(path) {
			err = headless(filepath.Base(m[1]), filepath.Base(path))
		}
		return nil, "", err
	}
	return in, FormTar, nil
}

func hasAny(dir string, names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		_, err := os.Lstat(filepath.Join(dir, n))
		return err == nil
	})
}

// read reads the documents of a bundle.
func read(ctx context.Context, in container, form Form, path string, o OpenOptions) (*Bundle, error) {
	b := &Bundle{path: path, form: form, in: in}
	if err := b.begin(ctx, o); err != nil {
		return nil, err
	}
	return b, b.learn(ctx)
}

// begin reads index.json and its signature, and asks whether the bundle may be used.
func (b *Bundle) begin(ctx context.Context, o OpenOptions) error {
	if err := b.readIndex(); err != nil {
		return err
	}
	b.created, _ = time.Parse(time.RFC3339, b.doc.Annotations[AnnotationCreated]) // parseIndex has looked
	var err error
	if b.signature, err = document(b.in, signatureFile, maxSignature); err != nil || o.Admit == nil {
		return err
	}
	if err := o.Admit(ctx, b.index, b.signature, b.created); err != nil {
		return refusal{err}
	}
	return nil
}

func (b *Bundle) readIndex() error {
	var err error
	if b.index, err = document(b.in, indexFile, maxIndex); err != nil {
		return err
	}
	if b.index == nil {
		return malformed("it has no %s", indexFile)
	}
	raw, err := document(b.in, layoutFile, maxLayout)
	if err != nil {
		return err
	}
	if raw == nil {
		return malformed("it has no %s", layoutFile)
	}
	unfit := checkLayout(raw, b.index)
	if manifest.KindOf(unfit) == manifest.KindIntegrity {
		return unfit // what index.json says may be an accident
	}
	if b.doc, err = parseIndex(b.index); err != nil {
		return err
	}
	return unfit
}

// learn reads what index.json names.
func (b *Bundle) learn(ctx context.Context) error {
	r := &reading{ctx: ctx, in: b.in, origin: "bundle " + b.path}
	if err := r.all(b.doc); err != nil {
		return err
	}
	b.images, b.models, b.lacking, b.sizes = r.images, r.models, r.lacking, r.reached
	return nil
}

// Index is index.json as it was when the bundle was opened: what a signature signs.
func (b *Bundle) Index() []byte { return b.index }

// Signature is index.json.sig; nil when there is none. Nobody has looked at it yet.
func (b *Bundle) Signature() []byte { return b.signature }

// Digest is the digest of index.json, which names everything in the bundle.
func (b *Bundle) Digest() manifest.Digest { return digest.FromBytes(b.index) }

// Close closes the files, and removes what Spool has written. It may be called twice.
func (b *Bundle) Close() error { return b.in.Close() }
