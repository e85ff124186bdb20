package source

import (
	"context"
	"errors"
	"io/fs"

	"github.com/clara-push/clara-push/pkg/cache"
	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// contentOrigin is one image in an engine whose content store can be read: the original manifest and blobs, each on its
// own.
type contentOrigin struct {
	engine *engine.Engine
	id     string
	root   manifest.Descriptor
}

// openContent reads img from the engine's content store. Where that is closed to us, the engine saves the image into the
// cache folder and the archive is read.
func openContent(ctx context.Context, f *finder, e *engine.Engine, img engine.Image) (origin, error) {
	if e.Content() != nil {
		return &contentOrigin{engine: e, id: img.ID, root: img.Target}, nil
	}
	c, err := f.spool()
	if err != nil {
		return nil, err
	}
	f.o.Events.Say(manifest.StepPlan, "", "the engine's content store cannot be read, so the image is saved whole")
	return saveArchive(ctx, c, e, img)
}

// saveArchive has the engine save img and reads the archive that it makes.
func saveArchive(ctx context.Context, c *cache.Cache, e *engine.Engine, img engine.Image) (origin, error) {
	step := "save " + img.ID
	if err := c.MakeRoom("read image", img.Size); err != nil {
		return nil, err
	}
	stream, err := e.Save(ctx, img.ID)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	t, err := spoolTar(ctx, c, stream, step)
	if err != nil {
		return nil, err
	}
	o, err := openLayout(t, e.Describe().String(), "")
	if err != nil {
		return nil, errors.Join(about(err, img.ID), t.close())
	}
	o.def = e.Describe().Platform
	return o, nil
}

func (o *contentOrigin) image(ctx context.Context, w want) (manifest.Image, error) {
	p := &picker{read: o.read, want: w, def: o.engine.Describe().Platform}
	img, err := p.image(ctx, []manifest.Descriptor{o.root})
	if err != nil {
		return manifest.Image{}, about(err, o.id)
	}
	img.Origin = o.engine.Describe().String()
	return img, o.complete(ctx, img)
}

func (o *contentOrigin) read(ctx context.Context, d manifest.Descriptor) ([]byte, error) {
	raw, err := o.engine.Content().ReadAll(ctx, d, manifest.MaxDocument)
	if manifest.KindOf(err) == manifest.KindNotFound && d.Digest != o.root.Digest {
		return nil, o.lacks([]string{string(d.Digest)})
	}
	return raw, err
}

// complete makes sure that the store has every blob of img: an engine lists images of which it has only a part. Nor could
// it save them: it would leave the layers out and say nothing.
func (o *contentOrigin) complete(ctx context.Context, img manifest.Image) error {
	blobs, err := o.engine.Content().List(ctx)
	if err != nil {
		return err
	}
	have := map[manifest.Digest]bool{}
	for _, b := range blobs {
		have[b.Digest] = true
	}
	var missing []string
	for _, l := range img.Layers {
		if !have[l.Digest] {
			missing = append(missing, string(l.Digest))
		}
	}
	if len(missing) > 0 {
		return o.lacks(missing)
	}
	return nil
}

func (o *contentOrigin) lacks(missing []string) error {
	return manifest.Fail(manifest.KindNotFound, "read image "+o.id, "the engine has the image only in part; it lacks %s", list(missing)).
		Advise("pull or build the image again, for the platform that is meant (docker pull --platform OS/ARCH)")
}

func (o *contentOrigin) open(ctx context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error) {
	if d.Size < 0 {
		return nil, manifest.Fail(manifest.KindInternal, "read blob", "the size of %s is not known", d.Digest)
	}
	r, err := o.engine.Content().Open(ctx, d, offset)
	if err != nil {
		return nil, err
	}
	return manifest.NewChecked(r, d, offset), nil
}

// close does nothing: the engine belongs to all images.
func (o *contentOrigin) close() error { return nil }

// gone reports whether err says that a file is not there.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
