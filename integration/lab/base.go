//go:build linux

package lab

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Base images are not built but loaded: a developer's base comes from a registry, and loading a gigabyte is three times
// faster than building it. The containerd store gets the layer as a registry would send it, compressed, unless it does
// not shrink.

// A baseImage is an image of one layer.
type baseImage struct {
	files []file
	facts baseFacts
	blob  string // file of the compressed layer; empty when the layer travels as it is
}

// baseFacts are what a layer's bytes yield. They are kept in the cache, for hashing a gigabyte takes seconds.
type baseFacts struct {
	DiffID, BlobDigest string
	Size, BlobSize     int64
}

// loadBase loads the image of the layer and the hello program into the engine as name.
func (l *Lab) loadBase(ctx context.Context, e *Engine, name string, layer Layer) error {
	b, err := newBase(ctx, layer, e.Kind == ModernContainerd && layer.Content == System)
	if err != nil {
		return err
	}
	cmd, err := e.DockerCommand(ctx, "load")
	if err != nil {
		return err
	}
	return feed(cmd, func(w io.Writer) error { return b.writeArchive(ctx, w, name) })
}

// newBase lists the files of the layer and finds out its digests, compressed or not.
func newBase(ctx context.Context, layer Layer, compress bool) (*baseImage, error) {
	hello, err := helloProgram(ctx)
	if err != nil {
		return nil, err
	}
	files, err := layer.files()
	if err != nil {
		return nil, err
	}
	b := &baseImage{files: append(files, hello)}
	dir := filepath.Join(CacheDir(), "base")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	key := filepath.Join(dir, b.key(layer, compress))
	if compress {
		b.blob = key + ".tar.gz"
	}
	if b.cached(key) {
		return b, nil
	}
	if err := b.measure(ctx); err != nil {
		return nil, err
	}
	text, err := json.Marshal(b.facts)
	if err == nil {
		err = writeWhole(key+".json", func(w io.Writer) error { _, err := w.Write(text); return err })
	}
	return b, errors.Join(err, prune(dir))
}

// key names the layer in the cache: what decides its bytes.
func (b *baseImage) key(layer Layer, compress bool) string {
	h := sha256.New()
	fmt.Fprintf(h, "1 %+v %v\n", layer, compress)
	for _, f := range b.files {
		fmt.Fprintf(h, "%s %d %d\n", f.path, f.size, f.stamp)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:10])
}

func (b *baseImage) cached(key string) bool {
	text, err := os.ReadFile(key + ".json")
	if err != nil || json.Unmarshal(text, &b.facts) != nil {
		return false
	}
	now := time.Now()
	os.Chtimes(key+".json", now, now)
	if b.blob == "" {
		return true
	}
	os.Chtimes(b.blob, now, now)
	fi, err := os.Stat(b.blob)
	return err == nil && fi.Size() == b.facts.BlobSize
}

// measure reads the layer once, and writes the compressed blob when there is to be one.
func (b *baseImage) measure(ctx context.Context) error {
	plain, packed := newCounter(), newCounter()
	if b.blob == "" {
		if err := b.writeLayer(ctx, plain); err != nil {
			return err
		}
		b.facts = baseFacts{plain.digest(), plain.digest(), plain.n, plain.n}
		return nil
	}
	err := writeWhole(b.blob, func(w io.Writer) error {
		z, err := gzip.NewWriterLevel(io.MultiWriter(w, packed), gzip.BestSpeed)
		if err != nil {
			return err
		}
		return errors.Join(b.writeLayer(ctx, io.MultiWriter(z, plain)), z.Close())
	})
	b.facts = baseFacts{plain.digest(), packed.digest(), plain.n, packed.n}
	return err
}

// writeLayer writes the layer as an uncompressed tar.
func (b *baseImage) writeLayer(ctx context.Context, w io.Writer) error {
	t, made := tar.NewWriter(w), map[string]bool{}
	for _, f := range b.files {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := errors.Join(writeDirs(t, made, path.Dir(f.path)), writeFile(t, f)); err != nil {
			return err
		}
	}
	return t.Close()
}

// writeArchive writes an archive that every engine loads: an OCI image layout with Docker's manifest.json beside it.
func (b *baseImage) writeArchive(ctx context.Context, w io.Writer, name string) error {
	type object = map[string]any
	mediaType := "application/vnd.oci.image.layer.v1.tar"
	if b.blob != "" {
		mediaType += "+gzip"
	}
	config := mustJSON(object{
		"created": epoch, "architecture": runtime.GOARCH, "os": "linux", "config": object{"Cmd": []string{"/hello"}},
		"rootfs":  object{"type": "layers", "diff_ids": []string{b.facts.DiffID}},
		"history": []object{{"created": epoch, "created_by": "clara-push-lab"}},
	})
	manifest := mustJSON(object{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": object{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digestOf(config), "size": len(config)},
		"layers": []object{{"mediaType": mediaType, "digest": b.facts.BlobDigest, "size": b.facts.BlobSize}},
	})
	index := mustJSON(object{"schemaVersion": 2, "manifests": []object{{
		"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digestOf(manifest), "size": len(manifest),
		"annotations": object{"io.containerd.image.name": "docker.io/library/" + name},
	}}})
	docker := mustJSON([]object{{"Config": blobPath(digestOf(config)), "RepoTags": []string{name}, "Layers": []string{blobPath(b.facts.BlobDigest)}}})
	t := tar.NewWriter(w)
	for _, f := range []file{
		textFile("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), textFile("index.json", string(index)),
		textFile("manifest.json", string(docker)), textFile(blobPath(digestOf(config)), string(config)),
		textFile(blobPath(digestOf(manifest)), string(manifest)), b.layerFile(ctx),
	} {
		if err := writeFile(t, f); err != nil {
			return err
		}
	}
	return t.Close()
}

// layerFile is the layer as an entry of the archive.
func (b *baseImage) layerFile(ctx context.Context) file {
	return file{path: blobPath(b.facts.BlobDigest), size: b.facts.BlobSize, open: func() (io.ReadCloser, error) {
		if b.blob != "" {
			return os.Open(b.blob)
		}
		r, w := io.Pipe()
		go func() { w.CloseWithError(b.writeLayer(ctx, w)) }()
		return r, nil
	}}
}

// prune keeps the newest files of the cache: the layers that tests and benchmarks use are few.
func prune(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	age := map[string]time.Time{}
	for _, e := range entries {
		if fi, err := e.Info(); err == nil {
			age[e.Name()] = fi.ModTime()
		}
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Compare(age[b.Name()].UnixNano(), age[a.Name()].UnixNano()) })
	for _, e := range entries[min(len(entries), 24):] {
		os.Remove(filepath.Join(dir, e.Name()))
	}
	return nil
}
