package bundle

import (
	"context"
	"path/filepath"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A Source yields what goes into a bundle, and its bytes. Package source has the implementations.
type Source interface {
	// Artifacts tells what there is, for platform p; the zero platform leaves the choice to the source.
	Artifacts(ctx context.Context, p manifest.Platform) (manifest.Artifacts, error)
	// Open reads the blob d from offset on: any blob of the artifacts, any number of times.
	Open(ctx context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error)
}

// WriteOptions say what bundle is written. The zero value writes a full, unsigned one into a tar.
type WriteOptions struct {
	// Application and Version are what the bundle is a release of, Tool is what writes it; for people and for the guard
	// against old bundles.
	Application, Version, Tool string
	// Created is the time that the bundle claims for itself (SOURCE_DATE_EPOCH), to the second. The zero time claims none,
	// unless the bundle is signed: then it is now.
	Created time.Time
	// Platform is what to take of multi-platform images; the zero value leaves the choice to the source.
	Platform manifest.Platform
	// Compression of layers that the source has uncompressed. Recompress also turns zstd layers into gzip, which changes
	// their digests and that of the manifest.
	Compression Compression
	Recompress  bool
	// Base is what the site has already; nil writes a full bundle.
	Base *Base
	// Sign makes the armored SSHSIG over the bytes of index.json; nil leaves the bundle unsigned.
	Sign func(ctx context.Context, index []byte) (armored []byte, err error)
	// Folder writes an OCI layout folder instead of a tar; a name that ends in a slash, or that is a folder, means the same.
	Folder bool
	// Split cuts the tar into files of so many bytes, the last one smaller; 0 does not cut.
	Split int64
	// WorkDir keeps compressed layers from one bundle to the next; empty is clara-push in the user's cache folder.
	WorkDir string
	// Verify says whether the bundle is read back from the medium.
	Verify Verify
	// DryRun does all but sign and write: layers are compressed, and Written says what there would be.
	DryRun bool
	// Events hears how far it has come; nil is silent.
	Events manifest.Events
}

// Verify says when a written bundle is read back from the medium and compared.
type Verify int

// When a bundle is read back.
const (
	VerifyRemovable Verify = iota // when it was written to removable media
	VerifyAlways
	VerifyNever
)

// Written is what was written.
type Written struct {
	// Paths are the files, or the one folder; of a split bundle the parts and behind them the list of them.
	Paths []string
	Size  int64           // bytes in all files
	Index manifest.Digest // of index.json, which names everything in the bundle
	// Signed tells that somebody signed it, Checked that it was read back from the medium and was right.
	Signed, Checked bool
	Images          []WrittenImage
	Models          []WrittenModel
	// LeftOut are the blobs that a differential bundle does not have, once each.
	LeftOut  []manifest.Descriptor
	Warnings []string
}

// WrittenImage is one image in the bundle.
type WrittenImage struct {
	manifest.Image
	// Composed tells that the manifest is ours; Former is then that of the source, empty where it had none.
	Composed bool
	Former   manifest.Digest
}

// WrittenModel is one model in the bundle.
type WrittenModel struct {
	manifest.Model
	Manifest manifest.Digest
}

// Write writes what src has to the file or folder to. What bears that name is whole, always: it is written beside and
// renamed, and what a killed run left is removed by the next one to the same name. The same artifacts, options and version
// of clara-push give the same bytes, unless the bundle is signed.
//
// It fails with KindUsage for what cannot be a bundle, KindSpace when the room is too small (before it writes, where the
// sizes tell), KindLocked when another process writes to the same name, KindIntegrity when bytes are not what their digest
// says, on the way in or when read back.
func Write(ctx context.Context, src Source, to string, o WriteOptions) (Written, error) {
	if err := o.complete(to); err != nil {
		return Written{}, err
	}
	p := &packer{src: src, dir: o.WorkDir, events: o.Events}
	defer p.close()
	r, err := gather(ctx, src, p, o)
	if err != nil || o.DryRun {
		return r.written, err
	}
	out, err := create(to, o, r)
	if err != nil {
		return r.written, err
	}
	defer out.discard()
	if err := r.write(ctx, out, o.Events); err != nil {
		return r.written, err
	}
	if r.written.Checked, err = out.check(ctx, o); err != nil {
		return r.written, err
	}
	r.written.Paths, r.written.Size, err = out.publish()
	r.written.Warnings = append(r.written.Warnings, out.strays(o)...)
	return r.written, err
}

// complete checks the options and fills in what follows from others.
func (o *WriteOptions) complete(to string) error {
	o.Folder = o.Folder || meansFolder(to)
	if err := o.Check(to); err != nil {
		return err
	}
	if o.Sign != nil && o.Created.IsZero() {
		o.Created = time.Now()
	}
	if !o.Created.IsZero() {
		o.Created = time.Unix(max(0, o.Created.Unix()), 0).UTC()
	}
	return nil
}

// Check fails with KindUsage for options that cannot be, or do not go together. Write checks the same first.
func (o *WriteOptions) Check(to string) error {
	usage := func(format string, args ...any) error {
		return manifest.Fail(manifest.KindUsage, "write bundle", format, args...)
	}
	switch {
	case to == "":
		return usage("no file is named")
	case o.Split != 0 && (o.Folder || meansFolder(to)):
		return usage("a folder cannot be split")
	case o.Split < 0:
		return usage("parts of %d bytes cannot be", o.Split)
	case o.Split > 0 && !isPlainName(filepath.Base(to)):
		return usage("the parts of %q would have names that not every system takes", filepath.Base(to))
	case o.Compression != Gzip && o.Compression != Zstd && o.Compression != None:
		return usage("%q is no compression", o.Compression)
	case o.Recompress && o.Compression != Gzip:
		return usage("to recompress means gzip, not %s", o.Compression)
	}
	texts := []string{o.Application, o.Version, o.Tool}
	if o.Base != nil {
		texts = append(texts, o.Base.Name)
	}
	for _, text := range texts {
		if err := checkText(text); err != nil {
			return err
		}
	}
	return nil
}

// checkText sees that a name which people gave can stand in index.json.
func checkText(s string) error {
	if len(s) > maxText || s != manifest.Plain(s) {
		return manifest.Fail(manifest.KindUsage, "write bundle", "%.100q is no text of at most %d bytes without control characters", s, maxText)
	}
	return nil
}
