//go:build linux

package loader

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// planters is how many packs are written out at once.
const planters = 4

// plant writes the small files out of their packs, while those arrive, each to the paths that wanted lists for it. It returns
// when all are written. The packs stay, so that a push that is cut off loses nothing. It fails with KindStale when a pack of
// another push went away.
func (s *fileStage) plant(ctx context.Context, wanted map[manifest.Digest][]string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(planters)
	for next := 0; len(wanted) > 0; {
		k, arrived := s.packAt(next)
		if k == nil {
			select {
			case <-arrived:
				continue
			case <-ctx.Done():
				return errors.Join(g.Wait(), context.Cause(ctx))
			}
		}
		next++
		if mine := k.take(wanted); len(mine) > 0 {
			g.Go(func() error { return k.plant(ctx, mine) })
		}
	}
	return g.Wait()
}

// packAt returns the pack of that number, or nil and what tells of the next arrival.
func (s *fileStage) packAt(n int) (*pack, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < len(s.packs) {
		return s.packs[n], nil
	}
	return nil, s.arrived
}

// take moves what is in the pack out of wanted.
func (k *pack) take(wanted map[manifest.Digest][]string) map[manifest.Digest][]string {
	mine := map[manifest.Digest][]string{}
	for _, p := range k.parts {
		if paths, ok := wanted[p.Digest]; ok {
			mine[p.Digest] = paths
			delete(wanted, p.Digest)
		}
	}
	return mine
}

// plant writes parts of the pack to the paths that mine lists.
func (k *pack) plant(ctx context.Context, mine map[manifest.Digest][]string) error {
	read, raw, err := readPack(k.path)
	if err != nil {
		return manifest.Fail(manifest.KindStale, "build models", "files went away from the stage: %w", err)
	}
	for _, p := range read.parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.Size > int64(len(raw)) {
			return manifest.Fail(manifest.KindStale, "build models", "what was kept of file %s is damaged", p.Digest)
		}
		for _, path := range mine[p.Digest] {
			if err := writeNew(path, raw[:p.Size]); err != nil {
				return err
			}
		}
		delete(mine, p.Digest) // a file may be in a pack twice
		raw = raw[p.Size:]
	}
	return nil
}

func writeNew(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Chmod(fileMode), f.Close()) // whatever the umask
}
