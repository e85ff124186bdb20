package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"regexp"
	"slices"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// savedImage is one entry of the manifest.json that docker save writes.
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// hexName finds the digest that a file name claims.
var hexName = regexp.MustCompile(`(?:^|[^0-9a-f])([0-9a-f]{64})(?:$|[^0-9a-f])`)

func parseSaved(raw []byte) ([]savedImage, error) {
	var all []savedImage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, malformed("manifest.json is not a list of images: %w", err)
	}
	for _, s := range all {
		if len(s.Layers) > manifest.MaxNamed {
			return nil, malformed("manifest.json names %d layers", len(s.Layers))
		}
	}
	return all, nil
}

// dockerImage reads the image by manifest.json.
func (o *layoutOrigin) dockerImage(ctx context.Context, w want) (manifest.Image, error) {
	raw, err := readSmall(o.in, "manifest.json", manifest.MaxDocument)
	if err != nil {
		return manifest.Image{}, err
	}
	all, err := parseSaved(raw)
	if err != nil {
		return manifest.Image{}, err
	}
	saved, ref, err := o.chooseSaved(all)
	if err != nil {
		return manifest.Image{}, err
	}
	img, err := o.assembleSaved(ctx, saved)
	if err != nil {
		return manifest.Image{}, err
	}
	if w.asked && !fits(w.Platform, img.Platform) {
		p := &picker{want: w}
		return manifest.Image{}, p.none([]manifest.Platform{img.Platform})
	}
	img.Ref = ref
	return img, nil
}

// chooseSaved picks the image that was asked for, or the only one, and the name it has there.
func (o *layoutOrigin) chooseSaved(all []savedImage) (savedImage, string, error) {
	var names []string
	for _, s := range all {
		for _, tag := range s.RepoTags {
			if !slices.Contains(names, manifest.Plain(tag)) {
				names = append(names, manifest.Plain(tag))
			}
			if o.ref != "" && sameName(o.ref, tag) {
				return s, tag, nil
			}
		}
		if len(s.RepoTags) == 0 {
			names = append(names, manifest.Plain(s.Config))
		}
		if o.ref != "" && o.ref == s.Config {
			return s, "", nil
		}
	}
	switch {
	case len(all) == 0:
		return savedImage{}, "", manifest.Fail(manifest.KindNotFound, "find image", "it holds no image")
	case o.ref != "":
		return savedImage{}, "", notInArchive(o.ref, names)
	case len(names) > 1:
		return savedImage{}, "", severalInArchive(o.path, names)
	case len(all[0].RepoTags) == 0:
		return all[0], "", nil
	}
	return all[0], all[0].RepoTags[0], nil
}

// assembleSaved reads the configuration and finds every layer's digest.
func (o *layoutOrigin) assembleSaved(ctx context.Context, s savedImage) (manifest.Image, error) {
	raw, err := readSmall(o.in, s.Config, manifest.MaxDocument)
	if errors.Is(err, fs.ErrNotExist) {
		return manifest.Image{}, manifest.Fail(manifest.KindNotFound, "read image", "the image configuration %.200s is missing", s.Config)
	}
	if err != nil {
		return manifest.Image{}, err
	}
	id := digest.FromBytes(raw)
	if m := hexName.FindStringSubmatch(s.Config); m != nil && m[1] != id.Encoded() {
		return manifest.Image{}, integrity("the image configuration %.200s has the digest %s", s.Config, id)
	}
	c, err := manifest.ParseConfig(raw)
	if err != nil {
		return manifest.Image{}, err
	}
	if len(c.RootFS.DiffIDs) != len(s.Layers) {
		return manifest.Image{}, malformed("manifest.json has %d layers, the image configuration %d", len(s.Layers), len(c.RootFS.DiffIDs))
	}
	o.place(id, s.Config)
	img := manifest.Image{Config: describeConfig(id, int64(len(raw))), Platform: c.PlainPlatform()}
	for n, name := range s.Layers {
		l, err := o.layer(ctx, name, c.RootFS.DiffIDs[n])
		if err != nil {
			return manifest.Image{}, err
		}
		img.Layers = append(img.Layers, l)
	}
	return img, nil
}

func (o *layoutOrigin) place(d manifest.Digest, name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.names[d] = name
}

// layer describes the layer stored as name. A plain one is called by its diffID, which reading it verifies; only a
// compressed one must be hashed now to learn its digest.
func (o *layoutOrigin) layer(ctx context.Context, name string, diffID manifest.Digest) (manifest.Layer, error) {
	f, err := o.in.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return manifest.Layer{}, manifest.Fail(manifest.KindNotFound, "read image", "the layer %.200s (%s) is missing", name, diffID)
	}
	if err != nil {
		return manifest.Layer{}, err
	}
	defer f.Close()
	packed, err := packing(f)
	if err != nil {
		return manifest.Layer{}, err
	}
	mediaType, ok := layerTypes[packed]
	if !ok {
		return manifest.Layer{}, malformed("the layer %.200s is compressed with %s, which not every engine reads", name, packed)
	}
	l := manifest.Layer{Descriptor: manifest.Descriptor{MediaType: mediaType, Digest: diffID, Size: f.Size()}, DiffID: diffID}
	if packed != plain {
		if l.Digest, err = o.hash(ctx, name, f); err != nil {
			return manifest.Layer{}, err
		}
	}
	o.place(l.Digest, name)
	return l, nil
}

// hash reads all of the file name, once however often it is asked.
func (o *layoutOrigin) hash(ctx context.Context, name string, f section) (manifest.Digest, error) {
	o.mu.Lock()
	d := o.hashed[name]
	o.mu.Unlock()
	if d != "" {
		return d, nil
	}
	d, err := hashSection(ctx, f)
	if err != nil {
		return "", err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hashed[name] = d
	return d, nil
}

// hashSection reads all of s.
func hashSection(ctx context.Context, s section) (manifest.Digest, error) {
	h := sha256.New()
	r := io.NewSectionReader(s, 0, s.Size())
	buf := make([]byte, copyBuffer)
	for {
		if ctx.Err() != nil {
			return "", interrupted(ctx)
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return manifest.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))), nil
		}
		if err != nil {
			return "", err
		}
	}
}
