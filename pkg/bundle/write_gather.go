package bundle

import (
	"bytes"
	"context"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A release is a bundle before it is written: its documents, and its blobs in the order of the format.
type release struct {
	index, signature, docker []byte // the last two may be empty

	blobs   []blob
	seen    map[manifest.Digest]bool
	written Written
}

// blob is one blob of a release and how its bytes are had.
type blob struct {
	manifest.Descriptor
	open  func(context.Context) (io.ReadCloser, error)
	wrong func() // told when the bytes are not what they should be; may be nil
}

// gather decides what the bundle consists of, compressing what must be. Nothing is written but the cache.
func gather(ctx context.Context, src Source, p *packer, o WriteOptions) (*release, error) {
	r := &release{seen: map[manifest.Digest]bool{}}
	a, err := src.Artifacts(ctx, o.Platform)
	if err != nil {
		return r, err
	}
	if len(a.Images)+len(a.Models) == 0 {
		return r, manifest.Fail(manifest.KindUsage, "write bundle", "there is neither an image nor a model to put into it")
	}
	images, err := packImages(ctx, src, p, a.Images, o)
	if err != nil {
		return r, err
	}
	models, err := composeModels(src, a.Models)
	if err != nil {
		return r, err
	}
	if err := r.list(images, models, o); err != nil {
		return r, err
	}
	return r, r.document(ctx, images, models, o)
}

// list lists the blobs in the order of the format, and apart those that the base has.
func (r *release) list(images []packedImage, models []composedModel, o WriteOptions) error {
	travels, err := o.Base.travels(artifactsOf(images, models), o.Platform.OS != "")
	if err != nil {
		return err
	}
	for _, i := range images {
		r.add(inMemory(i.manifest), nil)
		r.add(inMemory(i.config), nil)
	}
	for _, m := range models {
		r.add(inMemory(m.manifest), nil)
		r.add(inMemory(m.config), nil)
	}
	for _, i := range images {
		for _, b := range i.layers {
			r.add(b, travels)
		}
	}
	for _, m := range models {
		for _, b := range m.files {
			r.add(b, travels)
		}
	}
	return nil
}

// add lists b once: as what is written, or as what travels does not name and so is left out. A nil travels names everything.
func (r *release) add(b blob, travels map[manifest.Digest]bool) {
	if r.seen[b.Digest] {
		return
	}
	r.seen[b.Digest] = true
	if travels != nil && !travels[b.Digest] {
		r.written.LeftOut = append(r.written.LeftOut, b.Descriptor)
		return
	}
	r.blobs = append(r.blobs, b)
}

func inMemory(raw []byte) blob {
	return blob{
		Descriptor: manifest.Descriptor{Digest: digest.FromBytes(raw), Size: int64(len(raw))},
		open:       func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil },
	}
}

// artifactsOf is what whoever opens the bundle will find in it.
func artifactsOf(images []packedImage, models []composedModel) manifest.Artifacts {
	var a manifest.Artifacts
	for _, i := range images {
		a.Images = append(a.Images, i.Image)
	}
	for _, m := range models {
		a.Models = append(a.Models, m.Model)
	}
	return a
}

// document writes index.json and what stands beside it.
func (r *release) document(ctx context.Context, images []packedImage, models []composedModel, o WriteOptions) error {
	a := artifactsOf(images, models)
	full := o.Base == nil
	var entries []manifest.Descriptor
	for _, i := range images {
		e, err := imageEntry(i.Image, full)
		if err != nil {
			return err
		}
		entries = append(entries, e)
		r.written.Images = append(r.written.Images, WrittenImage{Image: i.Image, Composed: i.composed, Former: i.former})
		r.written.Warnings = append(r.written.Warnings, i.warnings...)
	}
	for _, m := range models {
		d := describe(modelManifestType, m.manifest)
		entries = append(entries, modelEntry(m.Name, d))
		r.written.Models = append(r.written.Models, WrittenModel{Model: m.Model, Manifest: d.Digest})
	}
	var err error
	if r.index, err = composeIndex(entries, o); err != nil {
		return err
	}
	r.written.Index = digest.FromBytes(r.index)
	if full {
		if r.docker, err = deriveDocker(a.Images); err != nil {
			return err
		}
	}
	if err := r.sign(ctx, o); err != nil {
		return err
	}
	r.written.Size = r.size(o)
	return nil
}

func (r *release) sign(ctx context.Context, o WriteOptions) (err error) {
	if o.Sign == nil || o.DryRun {
		return nil
	}
	if r.signature, err = o.Sign(ctx, r.index); err != nil {
		return err
	}
	if len(r.signature) == 0 || len(r.signature) > maxDocument {
		return manifest.Fail(manifest.KindInternal, "sign bundle", "the signature has %d bytes", len(r.signature))
	}
	r.written.Signed = true
	return nil
}
