//go:build linux

package loader

import (
	"archive/tar"
	"encoding/json"
	"io"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// copyBuffer is how many bytes of a blob are moved at once.
const copyBuffer = 256 << 10

// thinArchive writes the one tar that every engine loads: an OCI image layout that also carries Docker's manifest.json, and
// of the layers only those that the engine lacks. It bears no names. A graphdriver store reads manifest.json alone, so it
// gets nothing else; a containerd store and podman read the layout.
//
// The tail (index.json, manifest.json) comes last: a stream that breaks off before it loads nothing.
type thinArchive struct {
	tar    *tar.Writer
	store  manifest.Store
	buffer []byte
}

func newThinArchive(w io.Writer, s manifest.Store) *thinArchive {
	return &thinArchive{tar: tar.NewWriter(w), store: s, buffer: make([]byte, copyBuffer)}
}

// begin writes what marks the archive as a layout.
func (a *thinArchive) begin() error {
	if a.store == manifest.StoreGraphdriver {
		return nil
	}
	return a.document(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
}

// blob writes size bytes of r under the digest d. It does not check them: give it a verifier.
func (a *thinArchive) blob(d manifest.Digest, size int64, r io.Reader) error {
	if err := manifest.CheckDigest(d); err != nil {
		return err
	}
	if err := a.header(blobPath(d), size); err != nil {
		return err
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{a.tar}, r, a.buffer) // tar.Writer's own ReadFrom copies in small pieces
	return err
}

// end writes the tail and finishes the archive. paths are the digests under which the image's layers are to be found, base
// first, whether they were written or not; image is its OCI manifest, not used for a graphdriver store.
func (a *thinArchive) end(config manifest.Digest, paths []manifest.Digest, image manifest.Descriptor) error {
	if a.store != manifest.StoreGraphdriver {
		index := ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []manifest.Descriptor{image},
		}
		if err := a.document(ocispec.ImageIndexFile, index); err != nil {
			return err
		}
	}
	type dockerImage struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	img := dockerImage{Config: blobPath(config), Layers: make([]string, len(paths))}
	for n, d := range paths {
		img.Layers[n] = blobPath(d)
	}
	if err := a.document("manifest.json", []dockerImage{img}); err != nil {
		return err
	}
	return a.tar.Close()
}

func (a *thinArchive) document(name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.file(name, raw)
}

func (a *thinArchive) file(name string, raw []byte) error {
	if err := a.header(name, int64(len(raw))); err != nil {
		return err
	}
	_, err := a.tar.Write(raw)
	return err
}

func (a *thinArchive) header(name string, size int64) error {
	return a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)})
}

// blobPath is where a blob lies in an OCI image layout. The digest must have passed CheckDigest.
func blobPath(d manifest.Digest) string { return "blobs/sha256/" + d.Encoded() }
