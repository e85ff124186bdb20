package bundle

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// packedImage is an image as the bundle has it: all sizes known, and a manifest.
type packedImage struct {
	manifest.Image
	manifest, config []byte
	composed         bool            // the manifest is ours
	former           manifest.Digest // of the source's manifest, where ours takes its place
	layers           []blob
	warnings         []string
}

// packImages makes the images ready.
func packImages(ctx context.Context, src Source, p *packer, images []manifest.Image, o WriteOptions) ([]packedImage, error) {
	for _, img := range images {
		for _, l := range img.Layers {
			if o.repacks(l) {
				p.expect(l)
			}
		}
	}
	var all []packedImage
	for _, img := range images {
		i, err := packImage(ctx, src, p, img, o)
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

// repacks reports whether l goes into the bundle in another form than the source has it in.
func (o WriteOptions) repacks(l manifest.Layer) bool {
	if isPlain(l) {
		return o.Compression != None
	}
	return o.Recompress && isZstd(l.MediaType)
}

func packImage(ctx context.Context, src Source, p *packer, img manifest.Image, o WriteOptions) (packedImage, error) {
	i := packedImage{Image: img, composed: img.Manifest.Digest == ""}
	i.Image.Layers = slices.Clone(img.Layers)
	for n, l := range img.Layers {
		b, err := packLayer(ctx, src, p, &i.Image.Layers[n], o)
		if err != nil {
			return i, about(img.Ref, err)
		}
		i.layers = append(i.layers, b)
		i.composed = i.composed || b.Digest != l.Digest
	}
	var err error
	if i.config, err = readDocument(ctx, src, img.Config); err != nil {
		return i, about(img.Ref, err)
	}
	i.Config.Size = int64(len(i.config))
	if err := i.agree(); err != nil {
		return i, about(img.Ref, err)
	}
	if i.composed {
		i.former = img.Manifest.Digest
		i.manifest, i.Manifest, err = compose(i.Image)
	} else {
		i.manifest, err = readDocument(ctx, src, img.Manifest)
		i.Manifest.Size = int64(len(i.manifest))
		i.Manifest.MediaType = cmp.Or(i.Manifest.MediaType, ocispec.MediaTypeImageManifest)
	}
	i.warnings = append(i.zstdWarning(), i.formerWarning(o)...)
	return i, about(img.Ref, err)
}

// agree sees that the configuration is that of the layers, and takes the platform from it: engines tell that in words of
// their own.
func (i *packedImage) agree() error {
	c, err := manifest.ParseConfig(i.config)
	if err != nil {
		return err
	}
	if !slices.Equal(c.RootFS.DiffIDs, i.DiffIDs()) {
		return manifest.Fail(manifest.KindIntegrity, "write bundle", "the configuration %s names other layers than the source", i.Config.Digest)
	}
	i.Platform = c.PlainPlatform()
	return nil
}

// packLayer turns l into what the bundle names, and says where its bytes come from.
func packLayer(ctx context.Context, src Source, p *packer, l *manifest.Layer, o WriteOptions) (blob, error) {
	from := *l
	if o.repacks(from) {
		var err error
		if *l, err = p.pack(ctx, from, o.Compression); err != nil {
			return blob{}, err
		}
		d := l.Digest
		return blob{
			Descriptor: l.Descriptor,
			open:       func(ctx context.Context) (io.ReadCloser, error) { return p.read(ctx, from, o.Compression, d) },
			wrong:      func() { p.drop(d) },
		}, nil
	}
	if l.Size == manifest.UnknownSize {
		r, err := src.Open(ctx, from.Descriptor, 0)
		if err != nil {
			return blob{}, err
		}
		l.Size = r.Size()
		r.Close()
	}
	var err error
	l.Unpacked, err = unpackedSize(ctx, src, *l)
	return fromSource(src, l.Descriptor), err
}

func fromSource(src Source, d manifest.Descriptor) blob {
	return blob{Descriptor: d, open: func(ctx context.Context) (io.ReadCloser, error) { return src.Open(ctx, d, 0) }}
}

// compose makes the manifest of an image whose layers are known.
func compose(img manifest.Image) ([]byte, manifest.Descriptor, error) {
	layers := make([]manifest.LayerPlan, len(img.Layers))
	for n, l := range img.Layers {
		layers[n].Layer = l
	}
	return manifest.Compose(img.Config, layers)
}

// readDocument reads a small blob whole and checks it.
func readDocument(ctx context.Context, src Source, d manifest.Descriptor) ([]byte, error) {
	r, err := src.Open(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	switch {
	case err != nil:
		return nil, err
	case len(raw) > maxDocument:
		return nil, manifest.Fail(manifest.KindMalformed, "write bundle", "the document %s has more than %s", d.Digest, manifest.FormatBytes(maxDocument))
	case digest.FromBytes(raw) != d.Digest:
		return nil, manifest.Fail(manifest.KindIntegrity, "write bundle", "the document %s is in truth %s", d.Digest, digest.FromBytes(raw))
	}
	return raw, nil
}

func (i packedImage) zstdWarning() []string {
	all := warnings([]manifest.Image{i.Image})
	for n := range all {
		all[n] += "; --recompress stores gzip instead"
	}
	return all
}

// formerWarning tells that digests change where somebody asked for it. Where they do because nobody compressed the layers
// before, the former manifest was of use to nobody else.
func (i packedImage) formerWarning(o WriteOptions) []string {
	if !o.Recompress || i.former == "" {
		return nil
	}
	return []string{fmt.Sprintf("%s: recompressed, so its manifest is %s, no longer %s; its configuration stays %s", i.Ref, i.Manifest.Digest, i.former, i.Config.Digest)}
}
