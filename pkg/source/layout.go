package source

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// layoutOrigin is one image in an archive or a layout folder.
//
// An OCI layout is read by its index.json, byte for byte; anything else by the manifest.json of docker save. An archive
// that is both is read as a layout, as engines do.
type layoutOrigin struct {
	path string // as the user wrote it
	ref  string // the image asked for; empty when there is one only
	in   files
	def  manifest.Platform
	oci  bool

	mu     sync.Mutex
	names  map[manifest.Digest]string // blobs of a docker-archive by digest: where they lie
	hashed map[string]manifest.Digest // compressed layers of a docker-archive by file name: what they are
}

// openLayout looks whether files are a layout or an archive of docker save. It owns them then.
func openLayout(in files, path, ref string) (*layoutOrigin, error) {
	o := &layoutOrigin{path: path, ref: ref, in: in, def: native(), names: map[manifest.Digest]string{}, hashed: map[string]manifest.Digest{}}
	switch has, err := hasFile(in, "oci-layout"); {
	case err != nil:
		return nil, err
	case has:
		o.oci = true
		return o, nil
	}
	if _, isTar := in.(*tarFile); !isTar { // a manifest.json in a folder may be anything
		return nil, malformed("%s is no image layout: it has no oci-layout", path)
	}
	switch has, err := hasFile(in, "manifest.json"); {
	case err != nil:
		return nil, err
	case has:
		return o, nil
	}
	return nil, malformed("%s is no image archive: it has neither oci-layout nor manifest.json", path)
}

func hasFile(in files, name string) (bool, error) {
	f, err := in.open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, f.Close()
}

func (o *layoutOrigin) image(ctx context.Context, w want) (manifest.Image, error) {
	read := o.dockerImage
	if o.oci {
		read = o.ociImage
	}
	img, err := read(ctx, w)
	if err != nil {
		return manifest.Image{}, about(err, o.path)
	}
	if err := o.complete(img); err != nil {
		return manifest.Image{}, err
	}
	img.Origin = o.kind() + " " + o.path
	return img, nil
}

func (o *layoutOrigin) kind() string {
	_, isTar := o.in.(*tarFile)
	switch {
	case o.oci && isTar:
		return "OCI archive"
	case o.oci:
		return "OCI layout"
	}
	return "Docker archive"
}

// complete makes sure that every blob of img is there with its size.
func (o *layoutOrigin) complete(img manifest.Image) error {
	var missing []string
	all := []manifest.Descriptor{img.Config}
	for _, l := range img.Layers {
		all = append(all, l.Descriptor)
	}
	for _, d := range all {
		f, err := o.in.open(o.where(d.Digest))
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, string(d.Digest))
			continue
		}
		if err != nil {
			return err
		}
		size := f.Size()
		f.Close()
		if size != d.Size {
			return integrity("%s: the blob %s has %d bytes, not %d", o.path, d.Digest, size, d.Size)
		}
	}
	if len(missing) > 0 {
		return manifest.Fail(manifest.KindNotFound, "read image", "%s lacks %d blobs of the image: %s", o.path, len(missing), strings.Join(missing, ", ")).
			Advise("make the archive again; it may be one that holds only a part")
	}
	return nil
}

// where is the file that holds a blob.
func (o *layoutOrigin) where(d manifest.Digest) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if name, ok := o.names[d]; ok {
		return name
	}
	return blobName(d)
}

func blobName(d manifest.Digest) string { return "blobs/sha256/" + d.Encoded() }

func (o *layoutOrigin) open(_ context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error) {
	if err := manifest.CheckDigest(d.Digest); err != nil {
		return nil, err
	}
	s, err := o.in.open(o.where(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, manifest.Fail(manifest.KindNotFound, "read blob", "%s: %w", o.path, err)
	}
	if err != nil {
		return nil, err
	}
	r, err := openSection(s, d, offset)
	if err != nil {
		return nil, about(err, o.path)
	}
	return r, nil
}

func (o *layoutOrigin) close() error { return o.in.close() }

// about says which archive, layout or image a failure is about.
func about(err error, what string) error {
	var f *manifest.Failure
	if !errors.As(err, &f) {
		return err
	}
	if strings.HasSuffix(f.Step, " "+what) {
		return err
	}
	g := *f
	g.Step = f.Step + " " + what
	return &g
}
