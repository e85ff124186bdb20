package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What the documents of a bundle may have, in bytes. A model of the 40,000 files that a push may have has a manifest of
// about 10 MB.
const (
	maxLayout    = 4 << 10
	maxIndex     = 4 << 20
	maxSignature = 64 << 10
	maxDocument  = 32 << 20
	// maxDocuments is for all manifests and configurations together, which are read whole.
	maxDocuments = 64 << 20
)

// maxText is the most bytes of a name that people gave: application, version, tool, base.
const maxText = 200

// indexKeys are the keys of index.json and of the descriptors in it.
var indexKeys = []string{
	"schemaVersion", "mediaType", "artifactType", "manifests", "annotations", "digest", "size", "platform",
}

// parseIndex reads index.json. It fails with KindMalformed.
func parseIndex(raw []byte) (ocispec.Index, error) {
	var x ocispec.Index
	if err := manifest.CheckJSON(raw, indexKeys...); err != nil {
		return x, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields() // a manifest at the same time, for one
	if err := d.Decode(&x); err != nil {
		return x, malformed("index.json: %w", err)
	}
	switch {
	case x.ArtifactType != IndexType:
		return x, malformed("it is an image layout, but no bundle of clara-push").
			Advise("push an image in it with clara-push image, which reads layouts and archives")
	case x.SchemaVersion != 2 || x.MediaType != ocispec.MediaTypeImageIndex:
		return x, malformed("index.json is %.100q of schema %d, not an image index", x.MediaType, x.SchemaVersion)
	case x.Subject != nil:
		return x, malformed("index.json is about something else")
	case len(x.Manifests) == 0:
		return x, malformed("index.json names nothing")
	case len(x.Manifests) > manifest.MaxNamed:
		return x, malformed("index.json names %d things, at most %d are allowed", len(x.Manifests), manifest.MaxNamed)
	}
	for _, e := range x.Manifests {
		if err := checkEntry(e); err != nil {
			return x, err
		}
	}
	return x, checkIndexAnnotations(x.Annotations)
}

// checkEntry looks at a descriptor of index.json: that of a manifest, which is a blob of this bundle and nowhere else.
func checkEntry(e manifest.Descriptor) error {
	if err := manifest.CheckDigest(e.Digest); err != nil {
		return err
	}
	switch {
	case e.Size < 0 || e.Size > maxDocument:
		return malformed("the manifest %s cannot have %d bytes", e.Digest, e.Size)
	case !manifest.IsManifest(e.MediaType):
		return malformed("%s is %.100q, and not a manifest", e.Digest, e.MediaType)
	case e.Data != nil, e.URLs != nil:
		return malformed("index.json says that %s is somewhere else", e.Digest)
	}
	return nil
}

// checkIndexAnnotations looks at what index.json says of the whole.
func checkIndexAnnotations(a map[string]string) error {
	for _, name := range []string{AnnotationApplication, AnnotationVersion, AnnotationTool, AnnotationBaseName} {
		if text := a[name]; len(text) > maxText || text != manifest.Plain(text) {
			return malformed("its %s is no text of at most %d bytes: %.100q", name, maxText, text)
		}
	}
	if created, ok := a[AnnotationCreated]; ok {
		if _, err := time.Parse(time.RFC3339, created); err != nil {
			return malformed("its %s is no time: %.100q", AnnotationCreated, created)
		}
	}
	base, ok := a[AnnotationBase]
	if ok {
		return manifest.CheckDigest(manifest.Digest(base))
	}
	if a[AnnotationBaseName] != "" {
		return malformed("it names a base, but no digest of it")
	}
	return nil
}

// layout is oci-layout. Other tools read its version only. Index is the digest of index.json, so that an accident to an
// unsigned one is found; it proves nothing against anybody who can write both.
type layout struct {
	Version string          `json:"imageLayoutVersion"`
	Index   manifest.Digest `json:"io.github.clara-push.index"`
}

// checkLayout fails unless raw is the oci-layout that belongs to index.
func checkLayout(raw, index []byte) error {
	var l layout
	if err := manifest.CheckJSON(raw, "imageLayoutVersion", "io.github.clara-push.index"); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return malformed("oci-layout: %w", err)
	}
	switch {
	case l.Version != ocispec.ImageLayoutVersion:
		return malformed("it is an image layout of version %.40q, not %s", l.Version, ocispec.ImageLayoutVersion)
	case l.Index == "":
		return malformed("oci-layout does not say which index.json belongs to it")
	case l.Index != digest.FromBytes(index):
		return damaged("index.json is not as it was made: oci-layout says %s, it is %s", l.Index, digest.FromBytes(index))
	}
	return nil
}

// document reads one of the files that are no blobs; nil when it is not there.
func document(in container, name string, limit int64) ([]byte, error) {
	s, err := in.document(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return readWhole(s, name, limit)
}
