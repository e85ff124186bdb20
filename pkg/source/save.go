package source

import (
	"context"
	"io"
	"slices"
	"sync"

	"github.com/clara-push/clara-push/pkg/cache"
	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// saveOrigin is one image in an engine that gives away whole images only. The first blob that is asked for and not in the
// cache starts one docker save, which fills the cache; readers follow it while it runs. What is in the cache is never
// saved again.
type saveOrigin struct {
	img     engine.Image
	cache   *cache.Cache
	events  manifest.Events
	where   string // for people
	save    func(context.Context) (io.ReadCloser, error)
	history func(context.Context) ([]int64, error)

	ctx  context.Context // of the saves: they serve several readers and end with close
	stop context.CancelFunc

	mu        sync.Mutex
	runs      []*saving // all that were started; the last one counts
	estimates []int64   // by layer, in bytes; nil before it was asked
}

func newSaveOrigin(e *engine.Engine, img engine.Image, c *cache.Cache, events manifest.Events) *saveOrigin {
	o := &saveOrigin{img: img, cache: c, events: events, where: e.Describe().String()}
	o.save = func(ctx context.Context) (io.ReadCloser, error) { return e.Save(ctx, img.ID) }
	o.history = func(ctx context.Context) ([]int64, error) { return e.History(ctx, img.ID) }
	o.ctx, o.stop = context.WithCancel(context.Background())
	return o
}

// image describes the image without saving it. Sizes are known only of what is in the cache; the others are estimated by
// the image's history.
func (o *saveOrigin) image(ctx context.Context, w want) (manifest.Image, error) {
	if o.img.DiffIDs == nil {
		return manifest.Image{}, manifest.Fail(manifest.KindNotFound, "read image "+o.img.ID, "the engine has the image only in part").
			Advise("pull or build it again")
	}
	if w.asked && !fits(w.Platform, o.img.Platform) {
		p := &picker{want: w}
		return manifest.Image{}, p.none([]manifest.Platform{o.img.Platform})
	}
	img := manifest.Image{Config: o.img.Config, Platform: o.img.Platform, Origin: o.where}
	size, _ := o.cache.Size(img.Config.Digest)
	img.Config = describeConfig(img.Config.Digest, size)
	sizes, err := o.unpacked(ctx)
	if err != nil {
		return manifest.Image{}, err
	}
	for n, d := range o.img.DiffIDs {
		size, _ := o.cache.Size(d)
		l := manifest.Layer{Descriptor: manifest.Descriptor{MediaType: layerTypes[plain], Digest: d, Size: size}, DiffID: d}
		if l.Unpacked = size; size == manifest.UnknownSize {
			l.Unpacked = sizes[n]
		}
		img.Layers = append(img.Layers, l)
	}
	return img, nil
}

// unpacked estimates the layers' sizes; zeros where the history does not tell which entry made which layer.
func (o *saveOrigin) unpacked(ctx context.Context) ([]int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.estimates != nil {
		return o.estimates, nil
	}
	sizes, err := o.history(ctx)
	if err != nil {
		return nil, err
	}
	if len(sizes) != len(o.img.DiffIDs) {
		sizes = make([]int64, len(o.img.DiffIDs))
	}
	o.estimates = sizes
	return sizes, nil
}

// open reads from the cache, or from the save that fills it.
func (o *saveOrigin) open(ctx context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error) {
	g, f, err := o.locate(d.Digest)
	switch {
	case err != nil:
		return nil, err
	case f != nil:
		r, err := openSection(f, manifest.Descriptor{Digest: d.Digest, Size: manifest.UnknownSize}, offset)
		if err != nil {
			return nil, err
		}
		r.OnWrong(func() { o.cache.Drop(d.Digest) })
		return r, nil
	}
	r, err := g.open(ctx, offset)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// locate finds the blob d: in the save that runs or has run, else in the cache, else in a new save. A save that failed is
// forgotten.
func (o *saveOrigin) locate(d manifest.Digest) (*growing, *fileSection, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.runs) > 0 {
		if g := o.runs[len(o.runs)-1].find(d); g != nil {
			return g, nil, nil
		}
	}
	f, err := openCached(o.cache, d)
	if err == nil {
		return nil, f, nil
	}
	if !gone(err) {
		return nil, nil, cache.Failure("read cache", err)
	}
	if d != o.img.Config.Digest && !slices.Contains(o.img.DiffIDs, d) {
		return nil, nil, manifest.Fail(manifest.KindInternal, "read blob", "%s is no part of %s", d, o.img.ID)
	}
	s := newSaving(o.img, o.cache)
	g := s.blobs[d]
	if g == nil { // another process has brought it just now
		f, err := openCached(o.cache, d)
		return nil, f, err
	}
	return g, nil, o.start(s)
}

// openCached opens a blob that is in the cache; fs.ErrNotExist else.
func openCached(c *cache.Cache, d manifest.Digest) (*fileSection, error) {
	f, size, err := c.Open(d)
	if err != nil {
		return nil, err
	}
	return &fileSection{File: f, size: size}, nil
}

// start begins a docker save in the background, once there is room for it.
func (o *saveOrigin) start(s *saving) error {
	if o.ctx.Err() != nil {
		return manifest.Fail(manifest.KindInternal, "save image", "the source is closed")
	}
	if err := o.cache.MakeRoom("read image", o.img.Size-s.cached); err != nil {
		return err
	}
	o.runs = append(o.runs, s)
	o.events.Say(manifest.StepPlan, "", "the engine saves the image (docker save) into "+o.cache.Dir())
	go s.run(o.ctx, o.save)
	return nil
}

// interrupted is the failure of a read whose context ended.
func interrupted(ctx context.Context) error {
	return manifest.Fail(manifest.KindInterrupted, "read image", "%w", context.Cause(ctx))
}

// close ends a running save, waits for it and closes its files.
func (o *saveOrigin) close() error {
	o.stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.runs {
		s.release()
	}
	o.runs = nil
	return nil
}
