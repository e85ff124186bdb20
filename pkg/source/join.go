package source

import (
	"context"
	"errors"
	"sync"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A Source yields artifacts and their bytes; Images and Models are sources.
type Source interface {
	Artifacts(ctx context.Context, p manifest.Platform) (manifest.Artifacts, error)
	Open(ctx context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error)
	Close() error
}

// Joined is several sources as one. Its methods may be called from several goroutines, as those of its parts may.
type Joined struct {
	parts []Source

	mu    sync.Mutex
	blobs map[manifest.Digest]Source
}

// Join makes one source of parts, which it then owns: Close closes them. Their artifacts follow each other.
func Join(parts ...Source) *Joined {
	return &Joined{parts: parts, blobs: map[manifest.Digest]Source{}}
}

// Artifacts describes what all parts have. It fails with KindUsage when two of them have an image or a model of the same
// name.
func (j *Joined) Artifacts(ctx context.Context, p manifest.Platform) (manifest.Artifacts, error) {
	var all manifest.Artifacts
	for _, part := range j.parts {
		a, err := part.Artifacts(ctx, p)
		if err != nil {
			return manifest.Artifacts{}, err
		}
		j.remember(a, part)
		all.Images = append(all.Images, a.Images...)
		all.Models = append(all.Models, a.Models...)
		all.Lacking = append(all.Lacking, a.Lacking...)
		if all.Provenance == nil {
			all.Provenance = a.Provenance
		}
	}
	return all, distinctNames(all)
}

func distinctNames(a manifest.Artifacts) error {
	seen := map[string]bool{}
	for _, i := range a.Images {
		if seen["image "+i.Ref] {
			return manifest.Fail(manifest.KindUsage, "find image", "two images would be named %s", i.Ref)
		}
		seen["image "+i.Ref] = true
	}
	for _, m := range a.Models {
		if seen["model "+m.Name] {
			return manifest.Fail(manifest.KindUsage, "read models", "two models would be named %s", m.Name)
		}
		seen["model "+m.Name] = true
	}
	return nil
}

// remember notes which part has which blob; of two the first.
func (j *Joined) remember(a manifest.Artifacts, from Source) {
	j.mu.Lock()
	defer j.mu.Unlock()
	add := func(d manifest.Digest) {
		if _, known := j.blobs[d]; d != "" && !known {
			j.blobs[d] = from
		}
	}
	for _, i := range a.Images {
		add(i.Manifest.Digest)
		add(i.Config.Digest)
		for _, l := range i.Layers {
			add(l.Digest)
		}
	}
	for _, m := range a.Models {
		for _, f := range m.Files {
			add(f.Digest)
		}
	}
}

// Open reads the blob d from the part that has it.
func (j *Joined) Open(ctx context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error) {
	j.mu.Lock()
	from, ok := j.blobs[d.Digest]
	j.mu.Unlock()
	if !ok {
		return nil, manifest.Fail(manifest.KindInternal, "read blob", "nothing here has the blob %.80q", string(d.Digest))
	}
	return from.Open(ctx, d, offset)
}

// Close closes all parts. It may be called twice, as theirs may.
func (j *Joined) Close() error {
	var errs []error
	for _, part := range j.parts {
		errs = append(errs, part.Close())
	}
	return errors.Join(errs...)
}
