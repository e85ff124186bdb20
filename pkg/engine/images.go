package engine

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"
)

// inspections is how many images are looked at at once.
const inspections = 8

// Image is one image as an engine has it. Digests that the engine told are checked; text is as it came.
type Image struct {
	// ID is what the engine calls it: the config digest on a graphdriver store and podman, the digest of the target
	// (manifest or index) on a containerd store.
	ID string
	// Config and Manifest are those of the asked platform. Config is known where the engine identifies images by it (its
	// size then is UnknownSize) and where the content store can be read; Manifest only on a containerd store. Else their
	// digests are empty.
	Config, Manifest manifest.Descriptor
	// Target is what the name points at on a containerd store: Manifest, or an index that lists it. Empty elsewhere.
	Target manifest.Descriptor
	// Others are further manifests of an index: other platforms, attestations.
	Others []manifest.Descriptor
	// Layers are the blobs and diffIDs, base first, where the content store can be read.
	Layers []manifest.Layer
	// DiffIDs from the base upwards; nil when the engine cannot tell because the image is incomplete.
	DiffIDs []manifest.Digest
	// Refs are its names in familiar form, "app:latest".
	Refs     []string
	Platform manifest.Platform
	Size     int64 // bytes, as the engine counts them
	// Missing lists what the platform's manifest names and the store has not. Only Image fills it.
	Missing []manifest.Digest
}

// Images lists all images, with the dangling ones and, on a graphdriver store, the intermediate ones of builds.
func (e *Engine) Images(ctx context.Context) ([]Image, error) {
	list, err := e.cli.ImageList(ctx, client.ImageListOptions{All: true})
	if err != nil {
		return nil, e.failed("list images", err)
	}
	images := make([]Image, len(list.Items))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inspections)
	for n, s := range list.Items {
		images[n] = Image{ID: s.ID, Refs: familiar(s.RepoTags), Size: s.Size}
		g.Go(func() error { return e.look(ctx, &images[n]) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	gone := func(i Image) bool { return i.ID == "" }
	return slices.DeleteFunc(images, gone), nil
}

// look completes an image of the list; one that has gone meanwhile loses its ID.
func (e *Engine) look(ctx context.Context, img *Image) error {
	found, err := e.inspect(ctx, img.ID)
	if manifest.KindOf(err) == manifest.KindNotFound {
		img.ID = ""
		return nil
	}
	if err != nil {
		return err
	}
	refs, size := img.Refs, img.Size
	*img = found
	img.Refs, img.Size = refs, size
	if e.content == nil {
		return nil
	}
	_ = e.content.complete(ctx, img, manifest.Platform{}) // an incomplete image is listed all the same
	return ctx.Err()
}

// ID returns what ref points at now, in the words of Image.ID; empty when nothing bears the name.
func (e *Engine) ID(ctx context.Context, ref string) (string, error) {
	img, err := e.inspect(ctx, ref)
	if manifest.KindOf(err) == manifest.KindNotFound {
		return "", nil
	}
	return img.ID, err
}

// Image describes one image by name or ID. On a containerd store it is the one for p in an index; the zero p means the
// one that the engine prefers. It fails with KindNotFound when there is no such image or the index has none for p.
func (e *Engine) Image(ctx context.Context, ref string, p manifest.Platform) (Image, error) {
	img, err := e.inspect(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	if e.about.Store != manifest.StoreContainerd {
		return img, nil
	}
	if e.content == nil {
		return img, e.available(ctx, &img)
	}
	if err := e.content.complete(ctx, &img, p); err != nil {
		return Image{}, err
	}
	have, err := e.content.digests(ctx)
	if err != nil {
		return Image{}, err
	}
	img.Missing = img.missing(have)
	return img, nil
}

func (i Image) missing(have map[manifest.Digest]bool) []manifest.Digest {
	var missing []manifest.Digest
	need := []manifest.Digest{i.Manifest.Digest, i.Config.Digest}
	for _, l := range i.Layers {
		need = append(need, l.Digest)
	}
	for _, d := range need {
		if !have[d] && !slices.Contains(missing, d) {
			missing = append(missing, d)
		}
	}
	return missing
}

// Refs returns what each name in familiar form points at, in the words of Image.ID.
func (e *Engine) Refs(ctx context.Context) (map[string]string, error) {
	list, err := e.cli.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return nil, e.failed("list images", err)
	}
	refs := map[string]string{}
	for _, s := range list.Items {
		for _, r := range familiar(s.RepoTags) {
			refs[r] = s.ID
		}
	}
	return refs, nil
}

// inspect asks the engine for one image.
func (e *Engine) inspect(ctx context.Context, ref string) (Image, error) {
	r, err := e.cli.ImageInspect(ctx, e.exact(ref))
	if err != nil {
		return Image{}, e.failed("inspect "+ref, err)
	}
	img := Image{
		ID: r.ID, Refs: familiar(r.RepoTags), Size: r.Size, DiffIDs: diffIDs(r.RootFS),
		Platform: manifest.Platform{OS: r.Os, Architecture: r.Architecture, Variant: r.Variant},
	}
	if err := manifest.CheckDigest(manifest.Digest(img.ID)); err != nil {
		return Image{}, manifest.Fail(manifest.KindEngine, "inspect "+ref, "the engine's image ID: %w", err)
	}
	if e.about.Store != manifest.StoreContainerd {
		img.Config = manifest.Descriptor{Digest: manifest.Digest(img.ID), Size: manifest.UnknownSize}
		return img, nil
	}
	img.Target = manifest.Descriptor{Digest: manifest.Digest(img.ID), Size: manifest.UnknownSize}
	if r.Descriptor != nil && r.Descriptor.Digest == img.Target.Digest {
		img.Target = *r.Descriptor
	}
	return img, nil
}

// available judges completeness without the content store, by what the engine says since API 1.48.
func (e *Engine) available(ctx context.Context, img *Image) error {
	if !e.atLeast(1, 48) {
		return nil
	}
	r, err := e.cli.ImageInspect(ctx, img.ID, client.ImageInspectWithManifests(true))
	if err != nil {
		return e.failed("inspect "+img.ID, err)
	}
	for _, m := range r.Manifests {
		d := m.Descriptor
		if d.Platform == nil && m.ImageData != nil {
			d.Platform = &m.ImageData.Platform
		}
		if m.Kind == image.ManifestKindImage && !m.Available && (d.Platform == nil || fits(d, img.Platform)) {
			img.Missing = append(img.Missing, d.Digest)
		}
	}
	return nil
}

// History estimates layer sizes: the sizes in bytes of the image's history entries, base first, those that added
// nothing left out. It may be shorter than the list of layers.
func (e *Engine) History(ctx context.Context, ref string) ([]int64, error) {
	h, err := e.cli.ImageHistory(ctx, e.exact(ref))
	if err != nil {
		return nil, e.failed("history of "+ref, err)
	}
	var sizes []int64
	for _, item := range slices.Backward(h.Items) {
		if item.Size > 0 {
			sizes = append(sizes, item.Size)
		}
	}
	return sizes, nil
}

// Save streams the image as "docker save" does. The caller closes the stream.
func (e *Engine) Save(ctx context.Context, ref string) (io.ReadCloser, error) {
	r, err := e.cli.ImageSave(ctx, []string{e.exact(ref)})
	if err != nil {
		return nil, e.failed("save "+ref, err)
	}
	return r, nil
}

// failed turns what an API call returned into a failure; a cancelled context stays what it is.
func (e *Engine) failed(step string, err error) error {
	switch {
	case ctxEnded(err):
		return err
	case cerrdefs.IsNotFound(err):
		return manifest.Fail(manifest.KindNotFound, step, "%s", manifest.Plain(words(err)))
	case client.IsErrConnectionFailed(err):
		return e.unreachable(err)
	}
	return classify(step, words(err))
}

// words are the engine's own, without what the client library says before them.
func words(err error) string { return strings.TrimPrefix(err.Error(), "Error response from daemon: ") }

// diffIDs returns the layers of an inspected image; nil when one of them is no digest.
func diffIDs(fs image.RootFS) []manifest.Digest {
	ids := make([]manifest.Digest, len(fs.Layers))
	for n, l := range fs.Layers {
		ids[n] = manifest.Digest(l)
		if manifest.CheckDigest(ids[n]) != nil {
			return nil
		}
	}
	return ids
}

// exact spells a name out for podman, which else takes app:1 for localhost/app:1. IDs stay what they are.
func (e *Engine) exact(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if e.about.Store != manifest.StorePodman || err != nil || manifest.CheckDigest(manifest.Digest(ref)) == nil {
		return ref
	}
	return named.String()
}

// familiar drops what is no name and shortens docker.io/library/app:1, as podman writes it, to app:1.
func familiar(names []string) []string {
	var refs []string
	for _, n := range names {
		named, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			continue // <none>:<none>
		}
		refs = append(refs, reference.FamiliarString(named))
	}
	return refs
}
