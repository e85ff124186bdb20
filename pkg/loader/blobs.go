//go:build linux

package loader

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// question is what a query asks about blobs and layers.
type question struct {
	all     bool
	blobs   map[manifest.Digest]bool
	diffIDs map[manifest.Digest]bool
}

func ask(q manifest.Query) question {
	a := question{all: q.All, blobs: map[manifest.Digest]bool{}, diffIDs: map[manifest.Digest]bool{}}
	for _, d := range q.Blobs {
		a.blobs[d] = true
	}
	for _, ids := range q.DiffIDs {
		for _, d := range ids {
			a.diffIDs[d] = true
		}
	}
	return a
}

func (q question) about(b manifest.Blob) bool {
	return q.all || q.blobs[b.Digest] || b.DiffID != "" && q.diffIDs[b.DiffID]
}

// blobsOf lists the blobs in a containerd store that are asked about. The store labels only those layers with their diffID
// that it unpacked itself, and no blob with its media type: both are completed from the images' manifests.
func (h *Host) blobsOf(ctx context.Context, images []engine.Image, q manifest.Query) ([]manifest.Blob, error) {
	store := h.engine.Content()
	if store == nil {
		return nil, nil
	}
	all, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	layers := map[manifest.Digest]manifest.Layer{}
	for _, i := range images {
		for _, l := range i.Layers {
			layers[l.Digest] = l
		}
	}
	asked := ask(q)
	var blobs []manifest.Blob
	for _, b := range all {
		if l, ok := layers[b.Digest]; ok {
			b.MediaType = l.MediaType
			if b.DiffID == "" {
				b.DiffID = l.DiffID
			}
		}
		if !asked.about(b) {
			continue
		}
		if b.DiffID != "" && b.MediaType == "" {
			b.MediaType = sniff(ctx, store, b)
		}
		blobs = append(blobs, b)
	}
	return blobs, nil
}

// sniff tells a layer's media type from its first bytes; empty when they cannot be read.
func sniff(ctx context.Context, store *engine.Content, b manifest.Blob) string {
	if b.Digest == b.DiffID {
		return ocispec.MediaTypeImageLayer
	}
	r, err := store.Open(ctx, manifest.Descriptor{Digest: b.Digest, Size: b.Size}, 0)
	if err != nil {
		return ""
	}
	defer r.Close()
	var magic [4]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return ""
	}
	switch {
	case bytes.HasPrefix(magic[:], gzipMagic):
		return ocispec.MediaTypeImageLayerGzip
	case bytes.Equal(magic[:], zstdMagic):
		return ocispec.MediaTypeImageLayerZstd
	}
	return ""
}

// layersOf lists the layers that podman has by the images it shows. It finds them again by diffID; their size it does not
// tell and does not check.
func layersOf(images []engine.Image, q manifest.Query) []manifest.Blob {
	asked := ask(q)
	found := map[manifest.Digest]bool{}
	var blobs []manifest.Blob
	for _, i := range images {
		for _, d := range i.DiffIDs {
			b := manifest.Blob{Digest: d, DiffID: d, MediaType: ocispec.MediaTypeImageLayer}
			if asked.about(b) && !found[d] {
				found[d] = true
				blobs = append(blobs, b)
			}
		}
	}
	slices.SortFunc(blobs, func(a, b manifest.Blob) int { return bytes.Compare([]byte(a.Digest), []byte(b.Digest)) })
	return blobs
}
