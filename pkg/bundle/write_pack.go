package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"io/fs"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/pkg/cache"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// packedRoom is the part of the user's cache folder that layers compressed for bundles are in.
const packedRoom = "packed"

// maxUnpacked is how many bytes a layer may unpack to, before its compression is taken for a bomb.
const maxUnpacked = 1 << 40

// A packer compresses layers into the cache: index.json names their digests and comes first in a bundle, and the next
// bundle with the same layer needs no second compression.
type packer struct {
	src    Source
	dir    string
	events manifest.Events

	mu    sync.Mutex
	cache *cache.Cache // nil before it is needed
	done  int64        // bytes that went through a compressor
	total int64        // bytes that will, as far as known
}

// packed is what became of a layer, as the cache remembers it.
type packed struct {
	Digest   manifest.Digest `json:"digest"`
	Size     int64           `json:"size"`
	Unpacked int64           `json:"unpacked"`
}

func (p *packer) open() (*cache.Cache, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cache == nil {
		c, err := cache.Open(p.dir, packedRoom)
		if err != nil {
			return nil, err
		}
		p.cache = c
	}
	return p.cache, nil
}

func (p *packer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cache != nil {
		p.cache.Close()
	}
}

// pack makes sure that the cache has l compressed by c, and describes that.
func (p *packer) pack(ctx context.Context, l manifest.Layer, c Compression) (manifest.Layer, error) {
	at, err := p.open()
	if err != nil {
		return l, err
	}
	key := packKey(l.DiffID, c)
	got, ok := recall(at, key)
	if !ok {
		if got, err = p.compress(ctx, at, l, c); err != nil {
			return l, err
		}
		if err := remember(at, key, got); err != nil {
			return l, err
		}
	} else {
		p.tell(p.estimate(l))
	}
	l.MediaType, l.Digest, l.Size, l.Unpacked = c.mediaType(), got.Digest, got.Size, got.Unpacked
	return l, nil
}

// read opens what pack made of l. Another process may have removed it from the cache since; then it is made again.
func (p *packer) read(ctx context.Context, l manifest.Layer, c Compression, want manifest.Digest) (io.ReadCloser, error) {
	at, err := p.open()
	if err != nil {
		return nil, err
	}
	f, _, err := at.Open(want)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if _, err := p.compress(ctx, at, l, c); err != nil {
		return nil, err
	}
	f, _, err = at.Open(want)
	return f, err
}

// drop forgets a blob that is not what its name says.
func (p *packer) drop(d manifest.Digest) {
	if at, err := p.open(); err == nil {
		at.Drop(d)
	}
}

// packKey is the name under which the cache remembers how a layer was compressed.
func packKey(diffID manifest.Digest, c Compression) manifest.Digest {
	return digest.FromString("clara-push packed layer\n" + packFormat + "\n" + string(c) + "\n" + string(diffID) + "\n")
}

// recall reads what the cache remembers under key, if the blob is there too.
func recall(at *cache.Cache, key manifest.Digest) (packed, bool) {
	f, size, err := at.Open(key)
	if err != nil {
		return packed{}, false
	}
	defer f.Close()
	raw := make([]byte, min(size, 4096))
	var p packed
	if _, err := io.ReadFull(f, raw); err != nil || json.Unmarshal(raw, &p) != nil || manifest.CheckDigest(p.Digest) != nil {
		return packed{}, false
	}
	got, ok := at.Size(p.Digest)
	return p, ok && got == p.Size
}

func remember(at *cache.Cache, key manifest.Digest, p packed) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	f, err := at.Temp()
	if err != nil {
		return err
	}
	if _, err := f.Write(raw); err != nil {
		cache.Discard(f)
		return cache.Failure("compress layer", err)
	}
	return at.Finish(f, key)
}

// compress reads l from the source, checks that it is what its diffID says, and keeps it compressed in the cache.
func (p *packer) compress(ctx context.Context, at *cache.Cache, l manifest.Layer, c Compression) (packed, error) {
	r, err := p.src.Open(ctx, l.Descriptor, 0)
	if err != nil {
		return packed{}, err
	}
	defer r.Close()
	p.learn(l, r.Size())
	at.Trim(r.Size() + cache.Reserve) // what cannot be had the disk itself will refuse
	f, err := at.Temp()
	if err != nil {
		return packed{}, err
	}
	sum := &counted{hash: sha256.New(), w: f}
	unpacked, err := p.through(ctx, r, sum, l, c)
	if err != nil {
		cache.Discard(f)
		return packed{}, err
	}
	got := packed{Digest: sum.digest(), Size: sum.n, Unpacked: unpacked}
	return got, at.Finish(f, got.Digest)
}

// through moves the layer through inflater and compressor, and returns the size of its tar.
func (p *packer) through(ctx context.Context, r io.Reader, w io.Writer, l manifest.Layer, c Compression) (int64, error) {
	plain, err := inflater(&watched{ctx: ctx, r: r, tell: p.tell}, l.MediaType)
	if err != nil {
		return 0, err
	}
	defer plain.Close()
	z, err := compressor(w, c)
	if err != nil {
		return 0, err
	}
	sum := &counted{hash: sha256.New(), w: z}
	_, err = io.CopyBuffer(sum, io.LimitReader(plain, maxUnpacked+1), make([]byte, readBuffer))
	if cerr := z.Close(); err == nil { // also ends what runs in it
		err = cerr
	}
	switch got := sum.digest(); {
	case err != nil:
		return 0, packFailure(l, err)
	case sum.n > maxUnpacked:
		return 0, manifest.Fail(manifest.KindMalformed, "compress layer", "%s unpacks to more than %s", l.Digest, manifest.FormatBytes(maxUnpacked))
	case got != l.DiffID:
		return 0, manifest.Fail(manifest.KindIntegrity, "compress layer", "layer %s is in truth %s", l.DiffID, got)
	}
	return sum.n, nil
}

// packFailure types what went wrong on the way through: a full disk, a source that says so itself, or else bytes that are no
// layer.
func packFailure(l manifest.Layer, err error) error {
	var f *manifest.Failure
	var p *fs.PathError
	if errors.As(err, &f) || errors.As(err, &p) {
		return cache.Failure("compress layer", err)
	}
	return manifest.Fail(manifest.KindIntegrity, "compress layer", "layer %s: %w", l.Digest, err)
}

// expect counts a layer that will have to be packed.
func (p *packer) expect(l manifest.Layer) { p.total += p.estimate(l) }

func (p *packer) estimate(l manifest.Layer) int64 {
	if l.Size == manifest.UnknownSize {
		return l.Unpacked
	}
	return l.Size
}

// learn replaces the estimate of l's size in the total.
func (p *packer) learn(l manifest.Layer, size int64) { p.total += size - p.estimate(l) }

func (p *packer) tell(n int64) {
	p.done += n
	p.events.Progress(manifest.StepCompress, p.done, p.total)
}

// counted counts and hashes what is written through it.
type counted struct {
	hash hash.Hash
	w    io.Writer
	n    int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.hash.Write(p[:n])
	c.n += int64(n)
	return n, err
}

func (c *counted) digest() manifest.Digest {
	return manifest.Digest("sha256:" + hex.EncodeToString(c.hash.Sum(nil)))
}

// watched is a reader that ends with ctx and tells how much was read.
type watched struct {
	ctx  context.Context
	r    io.Reader
	tell func(int64)
}

func (w *watched) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, interrupted(w.ctx)
	}
	n, err := w.r.Read(p)
	w.tell(int64(n))
	return n, err
}

// interrupted is the failure of a bundle whose context ended.
func interrupted(ctx context.Context) error {
	return manifest.Fail(manifest.KindInterrupted, "write bundle", "%w", context.Cause(ctx))
}
