package source

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/clara-push/clara-push/pkg/cache"
	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// saving is one docker save on its way into the cache. Layers are plain tars, so each is called by its diffID, whatever
// the engine calls its file:
//
//	Docker 25 and newer   blobs/sha256/<diffID>
//	Docker before 25      <legacy ID>/layer.tar, equal layers as links; see legacy
//	podman                <diffID>.tar
//
// What an entry is, is believed only once its bytes were hashed.
type saving struct {
	config  manifest.Digest
	diffIDs []manifest.Digest
	cache   *cache.Cache
	cached  int64 // bytes that were in the cache when the save began
	done    chan struct{}

	mu    sync.Mutex
	blobs map[manifest.Digest]*growing // what the save shall bring

	// Of the one goroutine that reads the stream:
	legacy *legacy
	hashes map[string]manifest.Digest // layers by entry name
	links  map[string]string
	docs   map[string][]byte // manifest.json and what may be the configuration
	buf    []byte
}

// newSaving prepares a save of what the cache has not.
func newSaving(img engine.Image, c *cache.Cache) *saving {
	s := &saving{
		config: img.Config.Digest, diffIDs: img.DiffIDs, cache: c, done: make(chan struct{}),
		blobs: map[manifest.Digest]*growing{}, legacy: newLegacy(img.DiffIDs),
		hashes: map[string]manifest.Digest{}, links: map[string]string{}, docs: map[string][]byte{},
		buf: make([]byte, copyBuffer),
	}
	for _, d := range append([]manifest.Digest{s.config}, s.diffIDs...) {
		if size, ok := c.Size(d); ok {
			s.cached += size
			continue
		}
		s.blobs[d] = newGrowing(d)
	}
	return s
}

// find returns the blob d if this save brings or has brought it.
func (s *saving) find(d manifest.Digest) *growing {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.blobs[d]
	select {
	case <-s.done:
		if g != nil && !g.isWhole() {
			return nil
		}
	default:
	}
	return g
}

// run reads the whole stream. However it ends, nobody waits for it afterwards.
func (s *saving) run(ctx context.Context, save func(context.Context) (io.ReadCloser, error)) {
	err := s.consume(ctx, save)
	if ctx.Err() != nil {
		err = interrupted(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(s.done)
	for d, g := range s.blobs {
		if err == nil && !g.isWhole() {
			err = integrity("the engine's docker save has no layer %s", d)
		}
		if g.finish(err); !g.isWhole() {
			g.release(s.cache)
		}
	}
}

func (s *saving) consume(ctx context.Context, save func(context.Context) (io.ReadCloser, error)) error {
	stream, err := save(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	// A read that waits for the engine must end with ctx.
	defer context.AfterFunc(ctx, func() { stream.Close() })()
	r := tar.NewReader(stream)
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return s.settle()
		}
		if err != nil {
			return brokenSave(err)
		}
		name, err := checkHeader(h, n)
		if err != nil {
			return err
		}
		if err := s.entry(name, h, r); err != nil {
			return err
		}
	}
}

func brokenSave(err error) error {
	return manifest.Fail(manifest.KindEngine, "save image", "the engine's docker save broke off: %w", err).
		Advise("see the engine's log, then push again")
}

// entry takes in one entry of the stream.
func (s *saving) entry(name string, h *tar.Header, r io.Reader) error {
	switch {
	case name == "":
		return nil
	case h.Typeflag != tar.TypeReg:
		target := h.Linkname
		if h.Typeflag == tar.TypeSymlink {
			target = path.Join(path.Dir(name), target)
		}
		s.links[name] = path.Clean(target)
		return nil
	case s.isDocument(name):
		return s.document(name, h.Size, r)
	}
	l := s.identify(name)
	g := s.awaited(l.digest)
	switch {
	case !l.is:
		return nil
	case g == nil && l.sure:
		s.hashes[name] = l.digest // it is in the cache already
		return nil
	}
	return s.spool(name, g, h.Size, r)
}

// isDocument reports whether an entry is one of the small files that matter.
func (s *saving) isDocument(name string) bool {
	return strings.HasSuffix(name, ".json") || path.Base(name) == "json" || name == blobName(s.config)
}

func (s *saving) document(name string, size int64, r io.Reader) error {
	if size > manifest.MaxDocument {
		return malformed("the engine's save has a %.200s of %s", name, manifest.FormatBytes(size))
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return brokenSave(err)
	}
	if path.Base(name) == "json" {
		s.legacy.learn(path.Dir(name), raw)
		return nil
	}
	if len(s.docs) > 2*manifest.MaxNamed {
		return malformed("the engine's save has too many documents")
	}
	s.docs[name] = raw
	return nil
}

// layer is what the name of an entry tells.
type layer struct {
	is     bool            // a layer at all
	digest manifest.Digest // which one; empty when the name does not tell
	sure   bool            // the name follows from the bytes; else it is a guess
}

func (s *saving) identify(name string) layer {
	if d, ok := blobDigest(name); ok {
		return layer{is: slices.Contains(s.diffIDs, d), digest: d, sure: true}
	}
	if path.Base(name) == "layer.tar" {
		d, sure := s.legacy.diffID(path.Dir(name))
		return layer{is: true, digest: d, sure: sure}
	}
	return layer{is: strings.HasSuffix(name, ".tar")}
}

// blobDigest is the digest that an entry claims by its name.
func blobDigest(name string) (manifest.Digest, bool) {
	encoded, ok := strings.CutPrefix(name, "blobs/sha256/")
	if !ok {
		encoded, ok = strings.CutSuffix(name, ".tar")
	}
	d := manifest.Digest("sha256:" + encoded)
	return d, ok && manifest.CheckDigest(d) == nil
}

// awaited returns the blob d if it has yet to come.
func (s *saving) awaited(d manifest.Digest) *growing {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.blobs[d]; g != nil && !g.hasBegun() {
		return g
	}
	return nil
}

// spool writes a layer into the cache while it is hashed. g is what it is thought to be, nil when nobody knows.
func (s *saving) spool(name string, g *growing, size int64, r io.Reader) error {
	f, err := s.cache.Temp()
	if err != nil {
		return err
	}
	if g != nil {
		g.begin(f, size)
	}
	h := sha256.New()
	if err := s.copy(f, h, g, r); err != nil {
		if g == nil {
			cache.Discard(f)
		}
		return err // run tells the readers of g, then lets go of the file
	}
	d := manifest.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
	s.hashes[name] = d
	if g != nil && g.digest == d {
		s.whole(f, g)
		return nil
	}
	return s.misjudged(f, g, d, size)
}

func (s *saving) copy(f *os.File, h hash.Hash, g *growing, r io.Reader) error {
	for {
		n, err := r.Read(s.buf)
		if _, err := f.Write(s.buf[:n]); err != nil {
			return cache.Failure("save image", err)
		}
		h.Write(s.buf[:n])
		if g != nil && n > 0 {
			g.grow(n)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return brokenSave(err)
		}
	}
}

// whole puts a complete blob under its name. Where that fails (Windows, while others read it) release does it.
func (s *saving) whole(f *os.File, g *growing) {
	err := s.cache.Keep(f, g.digest)
	g.update(func() { g.kept = err == nil })
	g.finish(nil)
}

// misjudged deals with a layer that is not what it was taken for, or that nobody knew: it may be another one.
func (s *saving) misjudged(f *os.File, g *growing, d manifest.Digest, size int64) error {
	if g != nil {
		g.finish(manifest.Fail(manifest.KindIntegrity, "save image", "the engine's docker save has other bytes for the layer %s", g.digest))
		s.mu.Lock()
		s.blobs[g.digest] = newGrowing(g.digest) // the right one may follow
		s.mu.Unlock()
		g.update(func() { g.file = nil })
	}
	right := s.awaited(d)
	if right == nil {
		cache.Discard(f)
		return nil
	}
	right.update(func() { right.file, right.size, right.have = f, size, size })
	s.whole(f, right)
	return nil
}

// settle compares what came with manifest.json, and only then gives out the configuration.
func (s *saving) settle() error {
	all, err := parseSaved(s.docs["manifest.json"])
	if err != nil {
		return brokenSave(err)
	}
	if len(all) != 1 || len(all[0].Layers) != len(s.diffIDs) {
		return malformed("the engine's manifest.json describes another image")
	}
	for n, name := range all[0].Layers {
		if got := s.hashes[s.follow(name)]; got != s.diffIDs[n] {
			return integrity("layer %d of the engine's docker save (%.200s) has the digest %q, not %s", n, name, got, s.diffIDs[n])
		}
	}
	return s.keepConfig(s.docs[path.Clean(all[0].Config)])
}

func (s *saving) follow(name string) string {
	name = path.Clean(name)
	for range maxLinks {
		target, ok := s.links[name]
		if !ok {
			break
		}
		name = target
	}
	return name
}

func (s *saving) keepConfig(raw []byte) error {
	if got := digest.FromBytes(raw); got != s.config {
		return integrity("the image configuration in the engine's docker save has the digest %s, not %s", got, s.config)
	}
	g := s.awaited(s.config)
	if g == nil {
		return nil
	}
	f, err := s.cache.Temp()
	if err != nil {
		return err
	}
	if _, err := f.Write(raw); err != nil {
		cache.Discard(f)
		return cache.Failure("save image", err)
	}
	size := int64(len(raw))
	g.update(func() { g.file, g.size, g.have = f, size, size })
	s.whole(f, g)
	return nil
}

// release waits for the end of the save, whose context must have ended unless it is over, and closes its files.
func (s *saving) release() {
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.blobs {
		g.release(s.cache)
	}
}
