package source

import (
	"context"
	"io"
	"slices"
	"sync"

	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// saver is what an engine does for a saveOrigin; *engine.Engine does it.
type saver interface {
	Describe() manifest.Engine
	History(ctx context.Context, ref string) ([]int64, error)
	Save(ctx context.Context, ref string) (io.ReadCloser, error)
}

// saveOrigin is one image in an engine that gives away whole images only. The first blob that is asked for and not in the
// cache starts one docker save, which fills the cache; readers follow it while it runs. What is in the cache is never
// saved again.
type saveOrigin struct {
	engine saver
	img    engine.Image
	cache  *cache
	events manifest.Events

	ctx  context.Context // of the saves: they serve several readers and end with close
	stop context.CancelFunc

	mu        sync.Mutex
	runs      []*saving // all that were started; the last one counts
	estimates []int64   // by layer, in bytes; nil before it was asked
}

func newSaveOrigin(e saver, img engine.Image, c *cache, events manifest.Events) *saveOrigin {
	o := &saveOrigin{engine: e, img: img, cache: c, events: events}
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
	img := manifest.Image{Config: o.img.Config, Platform: o.img.Platform, Origin: o.engine.Describe().String()}
	size, _ := o.cache.size(img.Config.Digest)
	img.Config = describeConfig(img.Config.Digest, size)
	sizes, err := o.history(ctx)
	if err != nil {
		return manifest.Image{}, err
	}
	for n, d := range o.img.DiffIDs {
		size, _ := o.cache.size(d)
		l := manifest.Layer{Descriptor: manifest.Descriptor{MediaType: layerTypes[plain], Digest: d, Size: size}, DiffID: d}
		if l.Unpacked = size; size == manifest.UnknownSize {
			l.Unpacked = sizes[n]
		}
		img.Layers = append(img.Layers, l)
	}
	return img, nil
}

// history estimates the layers' sizes; zeros where the history does not tell which entry made which layer.
func (o *saveOrigin) history(ctx context.Context) ([]int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.estimates != nil {
		return o.estimates, nil
	}
	sizes, err := o.engine.History(ctx, o.img.ID)
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
		r.wrong = func() { o.cache.drop(d.Digest) }
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
	f, err := o.cache.open(d)
	if err == nil {
		return nil, f, nil
	}
	if !gone(err) {
		return nil, nil, full("read cache", err)
	}
	if d != o.img.Config.Digest && !slices.Contains(o.img.DiffIDs, d) {
		return nil, nil, manifest.Fail(manifest.KindInternal, "read blob", "%s is no part of %s", d, o.img.ID)
	}
	s, err := o.start()
	if err != nil {
		return nil, nil, err
	}
	return s.find(d), nil, nil
}

// start begins a docker save in the background, once there is room for it.
func (o *saveOrigin) start() (*saving, error) {
	if o.ctx.Err() != nil {
		return nil, manifest.Fail(manifest.KindInternal, "save image", "the source is closed")
	}
	s := newSaving(o.img, o.cache)
	if err := o.cache.makeRoom(o.img.Size - s.cached); err != nil {
		return nil, err
	}
	o.runs = append(o.runs, s)
	o.events.Say(manifest.StepPlan, "", "the engine saves the image (docker save) into "+o.cache.dir)
	go s.run(o.ctx, func(ctx context.Context) (io.ReadCloser, error) { return o.engine.Save(ctx, o.img.ID) })
	return s, nil
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
