//go:build linux

package integration

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/clara-push/clara-push/integration/lab"
)

// A saved is what "docker save" of one image holds, every byte of it checked. It knows nothing of clara-push: what both
// ends of a push have is compared by it.
type saved struct {
	Config   string   // digest of the configuration
	DiffIDs  []string // digests of the uncompressed layers
	Manifest string   // digest of the platform's manifest; empty where the archive is no OCI layout
	Blobs    []string // digests of the layers as the archive has them
	Sizes    []int64  // bytes of the layers as the archive has them
}

// save saves an image and checks that it is whole.
func save(t testing.TB, e *lab.Engine, ref string) saved {
	t.Helper()
	s, err := trySave(e, ref)
	if err != nil {
		t.Fatalf("%s: docker save %s: %v", e.Name, ref, err)
	}
	return s
}

func trySave(e *lab.Engine, ref string) (saved, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd, err := e.DockerCommand(ctx, "save", ref)
	if err != nil {
		return saved{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return saved{}, err
	}
	if err := cmd.Start(); err != nil {
		return saved{}, err
	}
	a, err := readArchive(out)
	if err != nil {
		cancel()
	}
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	if err != nil {
		return saved{}, err
	}
	return a.image()
}

// entry is one file of an archive.
type entry struct {
	digest string // of its bytes
	diffID string // of its bytes, uncompressed
	size   int64
	text   []byte // its bytes, when they are few
}

type archive map[string]entry

// few is how many bytes of an entry are kept: manifests and configurations are smaller, layers seldom are.
const few = 256 << 10

func readArchive(r io.Reader) (archive, error) {
	a, links := archive{}, map[string]string{}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch h.Typeflag {
		case tar.TypeReg:
			if a[h.Name], err = readEntry(t); err != nil {
				return nil, fmt.Errorf("%s: %w", h.Name, err)
			}
		case tar.TypeSymlink: // equal layers, before Docker 25
			links[h.Name] = path.Join(path.Dir(h.Name), h.Linkname)
		}
	}
	for name, to := range links {
		a[name] = a[to]
	}
	_, err := io.Copy(io.Discard, r)
	return a, err
}

func readEntry(r io.Reader) (entry, error) {
	all, head := sha256.New(), &prefix{}
	counted := &counting{}
	body := io.TeeReader(r, io.MultiWriter(all, head, counted))
	plain, err := uncompressed(body)
	if err != nil {
		return entry{}, err
	}
	inner := sha256.New()
	if _, err := io.Copy(inner, plain); err != nil {
		return entry{}, err
	}
	if _, err := io.Copy(io.Discard, body); err != nil { // what a decompressor leaves unread
		return entry{}, err
	}
	return entry{digest: sum(all), diffID: sum(inner), size: counted.n, text: head.text}, nil
}

// uncompressed undoes gzip and zstd.
func uncompressed(r io.Reader) (io.Reader, error) {
	magic := make([]byte, 4)
	n, err := io.ReadFull(r, magic)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	whole := io.MultiReader(strings.NewReader(string(magic[:n])), r)
	switch {
	case n > 1 && magic[0] == 0x1f && magic[1] == 0x8b:
		return gzip.NewReader(whole)
	case n == 4 && string(magic) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(whole, zstd.WithDecoderConcurrency(1))
		return z, err
	}
	return whole, nil
}

func sum(h hash.Hash) string { return fmt.Sprintf("sha256:%x", h.Sum(nil)) }

// prefix keeps the first bytes written to it.
type prefix struct{ text []byte }

func (p *prefix) Write(b []byte) (int, error) {
	p.text = append(p.text, b[:min(len(b), few-len(p.text))]...)
	return len(b), nil
}

type counting struct{ n int64 }

func (c *counting) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// image describes the one image of the archive, and fails unless the archive is whole.
func (a archive) image() (saved, error) {
	var listed []struct {
		Config string
		Layers []string
	}
	if err := a.document("manifest.json", &listed); err != nil {
		return saved{}, err
	}
	if len(listed) != 1 {
		return saved{}, fmt.Errorf("manifest.json lists %d images", len(listed))
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := a.document(listed[0].Config, &config); err != nil {
		return saved{}, err
	}
	s := saved{Config: a[listed[0].Config].digest, DiffIDs: config.RootFS.DiffIDs}
	for _, l := range listed[0].Layers {
		e, ok := a[l]
		if !ok {
			return s, fmt.Errorf("layer %s is missing", l)
		}
		s.Blobs, s.Sizes = append(s.Blobs, e.digest), append(s.Sizes, e.size)
		if n := len(s.Blobs); n > len(s.DiffIDs) || e.diffID != s.DiffIDs[n-1] {
			return s, fmt.Errorf("layer %s unpacks to %s; the configuration says %v", l, e.diffID, s.DiffIDs)
		}
	}
	if len(s.Blobs) != len(s.DiffIDs) {
		return s, fmt.Errorf("%d layers, the configuration names %d", len(s.Blobs), len(s.DiffIDs))
	}
	return s, a.follow(&s)
}

// follow goes from index.json to the platform's manifest and checks that all it names is there.
func (a archive) follow(s *saved) error {
	type descriptor struct {
		Digest   string
		Size     int64
		Platform *struct{ OS string }
	}
	var doc struct {
		Manifests []descriptor
		Config    descriptor
		Layers    []descriptor
	}
	if _, ok := a["index.json"]; !ok {
		return nil
	}
	for name := "index.json"; ; {
		doc.Manifests, doc.Layers = nil, nil
		if err := a.document(name, &doc); err != nil {
			return err
		}
		if doc.Manifests == nil {
			break
		}
		n := slices.IndexFunc(doc.Manifests, func(d descriptor) bool { return d.Platform == nil || d.Platform.OS != "unknown" })
		if n < 0 {
			return fmt.Errorf("%s names no image", name)
		}
		s.Manifest = doc.Manifests[n].Digest
		name = blobFile(s.Manifest)
	}
	for n, d := range append(doc.Layers, doc.Config) {
		if e := a[blobFile(d.Digest)]; e.digest != d.Digest || e.size != d.Size {
			return fmt.Errorf("blob %s of the manifest has %d bytes and digest %s", d.Digest, e.size, e.digest)
		}
		if n < len(doc.Layers) && d.Digest != s.Blobs[n] {
			return fmt.Errorf("manifest.json and the OCI manifest disagree on layer %d", n)
		}
	}
	if got := a[blobFile(s.Manifest)].digest; got != s.Manifest || doc.Config.Digest != s.Config {
		return fmt.Errorf("manifest %s has digest %s and configuration %s", s.Manifest, got, doc.Config.Digest)
	}
	return nil
}

func blobFile(digest string) string { return "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:") }

func (a archive) document(name string, v any) error {
	e, ok := a[name]
	if !ok {
		return fmt.Errorf("%s is missing", name)
	}
	if err := json.Unmarshal(e.text, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
