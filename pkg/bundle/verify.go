package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/clara-push/clara-push/pkg/manifest"
	"golang.org/x/sync/errgroup"
)

// readBuffer is how many bytes are read at once.
const readBuffer = 1 << 20

// verifiers is how many blobs are hashed at once. More would have a disk or a stick jump to and fro.
const verifiers = 2

// mostNamed is how many damaged blobs a failure names.
const mostNamed = 20

// Verify hashes the blobs of these digests, or all that the bundle has when digests is nil. Those that a differential bundle
// leaves out are passed over. It reads on after a blob that is not what its digest says, and fails with KindIntegrity, naming
// all of them, and the parts that are damaged.
func (b *Bundle) Verify(ctx context.Context, digests []manifest.Digest, ev manifest.Events) error {
	v := &verification{b: b, ev: ev}
	blobs, err := v.choose(digests)
	if err != nil {
		return inBundle(err, b.path)
	}
	next := make(chan manifest.Digest)
	g, hashing := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(next)
		for _, d := range blobs {
			select {
			case next <- d:
			case <-hashing.Done():
				return stopped(hashing)
			}
		}
		return nil
	})
	for range verifiers {
		g.Go(func() error {
			buf := make([]byte, min(readBuffer, v.largest))
			for d := range next {
				if err := v.check(hashing, d, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return inBundle(err, b.path)
	}
	return inBundle(v.verdict(ctx), b.path)
}

// verification is one run of Verify.
type verification struct {
	b     *Bundle
	ev    manifest.Events
	total int64
	// largest is the size of the largest blob.
	largest int64

	mu   sync.Mutex
	done int64
	bad  []badBlob
}

// badBlob is a blob that is not what its digest says.
type badBlob struct {
	digest manifest.Digest
	how    string
}

// choose returns the blobs to be hashed, as they lie.
func (v *verification) choose(digests []manifest.Digest) ([]manifest.Digest, error) {
	if digests == nil {
		digests = v.b.all()
	}
	var blobs []manifest.Digest
	for _, d := range digests {
		if err := manifest.CheckDigest(d); err != nil {
			return nil, err
		}
		if _, ok := v.b.sizes[keyOf(d)]; !ok {
			return nil, manifest.Fail(manifest.KindNotFound, stepRead, "it has nothing to do with %s", d)
		}
		if _, ok := v.b.in.size(d); ok {
			blobs = append(blobs, d)
		}
	}
	slices.SortFunc(blobs, v.b.byPlace)
	blobs = slices.Compact(blobs)
	for _, d := range blobs {
		v.total += v.b.sizes[keyOf(d)]
		v.largest = max(v.largest, v.b.sizes[keyOf(d)], 1)
	}
	return blobs, nil
}

// check hashes one blob and notes what is wrong with it. It fails when there is no use in going on.
func (v *verification) check(ctx context.Context, d manifest.Digest, buf []byte) error {
	size := v.b.sizes[keyOf(d)]
	s, err := v.b.section(d, size)
	var got manifest.Digest
	if err == nil {
		got, err = hashAll(ctx, io.NewSectionReader(s, 0, size), buf, v.tell)
		s.Close()
	}
	switch {
	case ctx.Err() != nil:
		return stopped(ctx)
	case err == nil && got == d:
		return nil
	}
	how := "its bytes have the digest " + string(got)
	if err != nil {
		how = cause(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.bad = append(v.bad, badBlob{d, how})
	return nil
}

// cause is why something failed, without what every failure here has in common.
func cause(err error) string {
	var f *manifest.Failure
	if errors.As(err, &f) {
		err = f.Err
	}
	return err.Error()
}

func (v *verification) tell(n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done += n
	v.ev.Progress(manifest.StepVerify, v.done, v.total)
}

// verdict names what is damaged, as it lies.
func (v *verification) verdict(ctx context.Context) error {
	if len(v.bad) == 0 {
		return nil
	}
	slices.SortFunc(v.bad, func(x, y badBlob) int { return v.b.byPlace(x.digest, y.digest) })
	var named []string
	for _, bad := range v.bad[:min(len(v.bad), mostNamed)] {
		parts, err := v.b.in.guilty(ctx, bad.digest)
		if err != nil {
			return err
		}
		named = append(named, fmt.Sprintf("%s (%s) is damaged%s: %s", v.b.what(bad.digest), bad.digest, inParts(parts), bad.how))
	}
	if n := len(v.bad) - len(named); n > 0 {
		named = append(named, fmt.Sprintf("and %d more", n))
	}
	return damaged("%s", strings.Join(named, "; ")).
		Advise("copy the bundle again from where it was made; a medium that damages it twice is broken")
}

// byPlace orders blobs as they lie.
func (b *Bundle) byPlace(x, y manifest.Digest) int {
	return cmp.Or(cmp.Compare(b.in.offset(x), b.in.offset(y)), cmp.Compare(x, y))
}

// all are the digests of everything that the bundle names, once each.
func (b *Bundle) all() []manifest.Digest {
	all := make([]manifest.Digest, 0, len(b.sizes))
	for k := range b.sizes {
		all = append(all, k.digest())
	}
	return all
}

// what says what a blob is, for people.
func (b *Bundle) what(d manifest.Digest) string {
	for n, i := range b.images {
		if d == i.Manifest.Digest || d == i.Config.Digest {
			return map[bool]string{true: "the manifest of ", false: "the configuration of "}[d == i.Manifest.Digest] + b.images[n].Ref
		}
		if n := slices.IndexFunc(i.Layers, func(l manifest.Layer) bool { return l.Digest == d }); n >= 0 {
			return fmt.Sprintf("layer %d of %s", n, i.Ref)
		}
	}
	for _, m := range b.models {
		if n := slices.IndexFunc(m.Files, func(f manifest.File) bool { return f.Digest == d }); n >= 0 {
			return m.Files[n].Path + " of " + m.Name
		}
	}
	return "a document of a model"
}
