package source

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Options say how images are found. The zero value works.
type Options struct {
	// As names the image on the host, "app:1" or "registry.example.com/team/app:1". Only for a single image; empty keeps
	// the name that the image has at the source.
	As string
	// Platform is what the user asked for; the zero value takes what the host is, or the source's own default.
	Platform manifest.Platform
	// Engine is the local engine's address; empty finds it as the docker command does.
	Engine string
	// CacheDir keeps the layers of engines that can only save whole images; empty is clara-push in the user's cache folder.
	CacheDir string
	// Events hears where an image was found and what takes long; nil is silent.
	Events manifest.Events
}

// An origin is one image at the place where it was found. Its methods may be called from several goroutines.
type origin interface {
	// image describes the image for platform p. Its Ref is the name there, or empty where it has none.
	image(ctx context.Context, p want) (manifest.Image, error)
	// open reads a blob of an image that was described before.
	open(ctx context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error)
	// close frees what the origin holds and ends what it started. It may be called twice.
	close() error
}

// want is a platform and whether the user insists on it.
type want struct {
	manifest.Platform
	asked bool
}

// Images is what one push brings: the images that the user named. Its methods may be called from several goroutines.
type Images struct {
	o       Options
	origins []origin
	refs    []string // by origin: the name asked for, empty where the origin must tell
	names   []string // by origin: as the user wrote it
	finder  *finder

	mu    sync.Mutex
	blobs map[manifest.Digest]origin
}

// Open finds each of names, in this order unless the name forces one place:
//
//  1. A name that can only be a path ("/…", "./…", "../…", "~/…", or ending in .tar, .tar.gz, .tgz, .tar.zst, .tzst, each with
//     an optional ":REF" behind it) is an archive or layout and looked for nowhere else.
//  2. The local engine.
//  3. An archive or layout of that name in the file system. An ordinary folder or file that happens to bear the name of an
//     image does not count.
//  4. The registry that the name means.
//
// engine://NAME, registry://REF, archive:PATH[:REF] and layout:PATH[:REF] force one. A name that is found nowhere is a
// failure of KindNotFound which says where it was looked for. The caller must Close what it gets.
func Open(ctx context.Context, names []string, o Options) (*Images, error) {
	if err := checkNames(names, o); err != nil {
		return nil, err
	}
	s := &Images{o: o, finder: &finder{o: o}, blobs: map[manifest.Digest]origin{}, names: names}
	for _, n := range names {
		found, err := s.finder.find(ctx, n)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.origins = append(s.origins, found.origin)
		s.refs = append(s.refs, found.ref)
	}
	return s, nil
}

func checkNames(names []string, o Options) error {
	if len(names) == 0 {
		return manifest.Fail(manifest.KindUsage, "find image", "no image is named")
	}
	if o.As == "" {
		return nil
	}
	if len(names) > 1 {
		return manifest.Fail(manifest.KindUsage, "find image", "--as names one image, but %d are given", len(names)).
			Advise("push them one by one")
	}
	if strings.Contains(o.As, "@") {
		return manifest.Fail(manifest.KindUsage, "find image", "--as %.200q has a digest: the engine there finds it out itself", o.As).
			Advise("write --as NAME:TAG")
	}
	_, err := hostRef(o.As)
	return err
}

// Artifacts describes the images for platform p, in the order in which they were named. The zero p takes the source's own
// default. An explicit Options.Platform goes before p.
func (s *Images) Artifacts(ctx context.Context, p manifest.Platform) (manifest.Artifacts, error) {
	w := want{Platform: p}
	if s.o.Platform.OS != "" {
		w = want{Platform: s.o.Platform, asked: true}
	}
	var a manifest.Artifacts
	seen := map[string]string{}
	for n, from := range s.origins {
		img, err := from.image(ctx, w)
		if err != nil {
			return manifest.Artifacts{}, err
		}
		if img.Ref, err = s.name(n, img); err != nil {
			return manifest.Artifacts{}, err
		}
		if other, twice := seen[img.Ref]; twice {
			return manifest.Artifacts{}, manifest.Fail(manifest.KindUsage, "find image", "%s and %s would both be named %s on the host", other, s.names[n], img.Ref)
		}
		seen[img.Ref] = s.names[n]
		s.remember(img, from)
		a.Images = append(a.Images, img)
	}
	return a, nil
}

// name decides what image number n is called on the host.
func (s *Images) name(n int, img manifest.Image) (string, error) {
	ref := s.o.As
	if ref == "" {
		ref = s.refs[n]
	}
	if ref == "" {
		ref = img.Ref
	}
	if ref == "" {
		return "", manifest.Fail(manifest.KindUsage, "find image "+s.names[n], "it has no name there").
			Advise("name it on the host with --as NAME:TAG")
	}
	return hostRef(ref)
}

func (s *Images) remember(img manifest.Image, from origin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add := func(d manifest.Digest) {
		if _, known := s.blobs[d]; d != "" && !known {
			s.blobs[d] = from
		}
	}
	add(img.Manifest.Digest)
	add(img.Config.Digest)
	for _, l := range img.Layers {
		add(l.Digest)
	}
}

// Open reads the blob d of what Artifacts described, from offset on, any number of times, from several goroutines. A blob
// that is not what its digest says ends in a failure of KindIntegrity when it is read from offset 0; a blob that is gone is
// KindNotFound.
func (s *Images) Open(ctx context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error) {
	s.mu.Lock()
	from, ok := s.blobs[d.Digest]
	s.mu.Unlock()
	if !ok {
		return nil, manifest.Fail(manifest.KindInternal, "read blob", "no image of this push has the blob %.80q", string(d.Digest))
	}
	if offset < 0 || (d.Size >= 0 && offset > d.Size) {
		return nil, manifest.Fail(manifest.KindInternal, "read blob", "offset %d of %s, which has %d bytes", offset, d.Digest, d.Size)
	}
	return from.open(ctx, d, offset)
}

// Close ends what runs for these images and frees what they hold. It may be called twice.
func (s *Images) Close() error {
	var errs []error
	for _, from := range s.origins {
		errs = append(errs, from.close())
	}
	errs = append(errs, s.finder.close())
	return errors.Join(errs...)
}
