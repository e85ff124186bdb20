//go:build linux

package loader

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// undoTime bounds how long the removal of an image that failed its proof may take.
const undoTime = 30 * time.Second

// loading is one image on its way into the engine.
type loading struct {
	*applying
	number int
	plan   manifest.ImagePlan // Manifest is filled in when it is composed here

	sent   map[manifest.Digest]bool // blobs, and inflated layers by diffID, that were written to the archive
	id     string                   // what the engine will call the image; empty before the tail of the archive
	before bool                     // it was there before
}

// write writes the thin archive to w while the feed yields its blobs.
func (l *loading) write(ctx context.Context, w io.Writer) error {
	a := newThinArchive(w, l.applying.plan.Store)
	if err := a.begin(); err != nil {
		return err
	}
	wanted := l.wanted()
	for {
		d, r, err := l.feed.Next(ctx, l.number)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := l.take(a, wanted, d, r); err != nil {
			return err
		}
	}
	for d := range wanted {
		return manifest.Fail(manifest.KindInternal, "load "+l.plan.Image.Ref, "blob %s was not sent", d)
	}
	return l.finish(ctx, a)
}

// wanted lists what the feed must yield, each with what is known of it.
func (l *loading) wanted() map[manifest.Digest]part {
	wanted := map[manifest.Digest]part{}
	if l.plan.Manifest.Digest != "" {
		wanted[l.plan.Manifest.Digest] = part{Descriptor: l.plan.Manifest, check: checkManifest}
	}
	wanted[l.plan.Image.Config.Digest] = part{Descriptor: l.plan.Image.Config, check: checkConfig}
	for _, layer := range l.plan.Layers {
		if !layer.Present {
			wanted[layer.Digest] = part{Descriptor: layer.Descriptor, diffID: layer.DiffID, inflate: layer.Inflate}
		}
	}
	return wanted
}

// part is one blob of the archive.
type part struct {
	manifest.Descriptor
	check   func([]byte, manifest.ImagePlan) error // of a document; nil for a layer
	diffID  manifest.Digest                        // of a layer
	inflate bool                                   // a layer that the engine cannot read as it is
}

// take writes one blob that the feed yielded and crosses it off.
func (l *loading) take(a *thinArchive, wanted map[manifest.Digest]part, d manifest.Descriptor, r io.ReadCloser) error {
	defer r.Close()
	p, ok := wanted[d.Digest]
	switch {
	case !ok:
		return l.refuse("blob %s was sent, but the plan does not ask for it", d.Digest)
	case d.Size < 0 || p.Size > 0 && p.Size != d.Size:
		return l.refuse("blob %s was announced with %d bytes, the plan says %d", d.Digest, d.Size, p.Size)
	}
	delete(wanted, d.Digest)
	l.sizes[d.Digest] = d.Size
	d = manifest.Descriptor{Digest: d.Digest, Size: d.Size}
	switch {
	case p.check != nil:
		return l.document(a, d, p, r)
	case p.inflate:
		return l.inflated(a, d, p, r)
	}
	l.sent[d.Digest] = true
	write := func(r io.Reader) error { return a.blob(d.Digest, d.Size, r) }
	if a.store == manifest.StorePodman && p.diffID != d.Digest {
		return copyLayer(verify(r, d), p.diffID, write)
	}
	return write(verify(r, d))
}

func (l *loading) document(a *thinArchive, d manifest.Descriptor, p part, r io.Reader) error {
	raw, err := readDocument(r, d)
	if err != nil {
		return err
	}
	if err := p.check(raw, l.plan); err != nil {
		return err
	}
	l.sent[d.Digest] = true
	return a.file(blobPath(d.Digest), raw)
}

func (l *loading) inflated(a *thinArchive, d manifest.Descriptor, p part, r io.Reader) error {
	f, size, err := inflate(l.host.dir, verify(r, d), p.diffID)
	if err != nil {
		return err
	}
	defer f.Close()
	l.sent[p.diffID] = true
	return a.blob(p.diffID, size, f)
}

// finish composes the manifest where the plan has none, passes the commit point, and writes the archive's tail.
func (l *loading) finish(ctx context.Context, a *thinArchive) error {
	if err := l.compose(a); err != nil {
		return err
	}
	l.id = string(l.plan.Image.Config.Digest)
	if a.store == manifest.StoreContainerd {
		l.id = string(l.plan.Manifest.Digest)
	}
	now, err := l.host.engine.ID(ctx, l.id)
	if err != nil {
		return err
	}
	l.before = now != ""
	if l.lastArrival(l.number) {
		l.commit()
	}
	paths := make([]manifest.Digest, len(l.plan.Layers))
	for n, layer := range l.plan.Layers {
		paths[n] = layer.Digest
		if layer.Inflate {
			paths[n] = layer.DiffID
		}
	}
	return a.end(l.plan.Image.Config.Digest, paths, l.plan.Manifest)
}

func (l *loading) compose(a *thinArchive) error {
	if l.plan.Manifest.Digest != "" || a.store == manifest.StoreGraphdriver {
		return nil
	}
	config := manifest.Descriptor{Digest: l.plan.Image.Config.Digest, Size: l.sizes[l.plan.Image.Config.Digest]}
	layers := slices.Clone(l.plan.Layers)
	for n, layer := range layers {
		if size, ok := l.sizes[layer.Digest]; ok {
			layers[n].Size = size
		}
	}
	raw, d, err := manifest.Compose(config, layers)
	if err != nil {
		return err
	}
	l.plan.Manifest = d
	return a.file(blobPath(d.Digest), raw)
}

// judge adds what only the loading knows to a failure of the engine: that it lacks what it was just sent is no reason to plan
// again; of a layer that was left out the diffID is named, too; when nobody can tell which, all that were left out are.
func (l *loading) judge(err error) error {
	var f *manifest.Failure
	if !errors.As(err, &f) || f.Kind != manifest.KindStale {
		return err
	}
	g := *f
	g.Absent = nil
	vague := l.host.engine.Content() == nil && l.applying.plan.Store == manifest.StoreContainerd
	for _, layer := range l.plan.Layers {
		if !l.sent[layer.Digest] && !l.sent[layer.DiffID] && (vague || slices.Contains(f.Absent, layer.Digest)) {
			g.Absent = append(g.Absent, layer.Digest, layer.DiffID)
		}
	}
	for _, d := range f.Absent {
		if l.sent[d] && len(g.Absent) == 0 {
			return manifest.Fail(manifest.KindEngine, "load "+l.plan.Image.Ref, "the engine does not have blob %s, which it was just sent: %w", d, f.Err)
		}
	}
	return &g
}

// undo removes what the engine made of an archive that failed, unless it was there before or somebody named it meanwhile.
func (l *loading) undo(ctx context.Context) {
	if l.id == "" || l.before {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	refs, err := l.host.engine.Refs(ctx)
	if err != nil {
		return
	}
	for _, id := range refs {
		if id == l.id {
			return
		}
	}
	_ = l.host.engine.Remove(ctx, l.id)
}

func (l *loading) refuse(format string, args ...any) error {
	return manifest.Fail(manifest.KindIntegrity, "load "+l.plan.Image.Ref, format, args...)
}
