//go:build linux

package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A Stage keeps the chunks of blobs that have arrived and are not placed yet: partial/<hex of the blob's digest>/<index>.
// A chunk's file appears whole or not at all. A Stage holds every blob it was asked about or given, so that a sweep by
// another process leaves it alone.
type Stage struct {
	dir string // …/partial

	mu      sync.Mutex
	held    map[manifest.Digest]*os.File
	readers map[manifest.Digest]*handed
	arrived chan struct{} // closed and replaced whenever a chunk arrives
}

func stageAt(dir string) *Stage {
	return &Stage{dir: filepath.Join(dir, "partial"), held: map[manifest.Digest]*os.File{}, readers: map[manifest.Digest]*handed{}, arrived: make(chan struct{})}
}

// openStage makes sure that the stage's folder is there, for this user alone.
func openStage(dir string) (*Stage, error) {
	s := stageAt(dir)
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, stageFailure("open stage", err)
	}
	return s, os.Chmod(s.dir, 0o700)
}

// Close lets go of all blobs; their chunks stay.
func (s *Stage) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, f := range s.held {
		f.Close()
		delete(s.held, d)
	}
	return nil
}

// hold keeps the blob's folder from being swept until Close or Drop. With create it makes the folder.
func (s *Stage) hold(d manifest.Digest, create bool) (string, error) {
	if err := manifest.CheckDigest(d); err != nil {
		return "", err
	}
	dir := filepath.Join(s.dir, d.Encoded())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[d] != nil {
		return dir, nil
	}
	for {
		if create {
			if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
				return "", err
			}
		}
		f, err := lockFolder(dir, syscall.LOCK_SH)
		if errors.Is(err, syscall.EWOULDBLOCK) { // somebody is removing it, which does not take long
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if create && (errors.Is(err, errSwept) || errors.Is(err, os.ErrNotExist)) { // it went between the two calls
			continue
		}
		if err != nil {
			return "", err
		}
		s.held[d] = f
		return dir, nil
	}
}

// Put keeps one chunk of the blob d. It fails with KindIntegrity when the chunk is damaged, KindSpace when the disk is full.
// The chunk's body is the stage's from then on; what Put returns is a buffer in its place, or nil.
func (s *Stage) Put(d manifest.Digest, c Chunk) (spare []byte, err error) {
	if err := c.check(); err != nil {
		return c.Body, manifest.Fail(manifest.KindIntegrity, "stage", "blob %s: %w", d, err)
	}
	dir, err := s.hold(d, true)
	if err != nil {
		return c.Body, stageFailure("stage", err)
	}
	if err := writeChunk(dir, c); err != nil {
		return c.Body, stageFailure("stage", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.arrived)
	s.arrived = make(chan struct{})
	return s.readers[d].hand(c), nil
}

func writeChunk(dir string, c Chunk) error {
	f, err := os.CreateTemp(dir, "tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(c.header())
	if err == nil {
		_, err = f.Write(c.Body)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, strconv.Itoa(c.Index)))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Report says which chunks of the blobs are there. Every chunk is read and checked; a damaged one is removed, so that it
// alone travels again.
func (s *Stage) Report(digests []manifest.Digest) ([]manifest.Staged, error) {
	var all []manifest.Staged
	buf := make([]byte, maxBody)
	for _, d := range digests {
		dir, err := s.hold(d, false)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, errSwept) {
			continue
		}
		if err != nil {
			return nil, stageFailure("read stage", err)
		}
		chunks, err := soundChunks(dir, buf)
		if err != nil {
			return nil, stageFailure("read stage", err)
		}
		all = append(all, manifest.Staged{Digest: d, Size: manifest.UnknownSize, Chunks: chunks})
	}
	return all, nil
}

func soundChunks(dir string, buf []byte) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var chunks []int
	for _, e := range entries {
		index, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if _, err := readChunk(path, index, buf); err != nil {
			os.Remove(path)
			continue
		}
		chunks = append(chunks, index)
	}
	slices.Sort(chunks)
	return chunks, nil
}

// Drop removes the blob from the stage, unless another process holds it: that one counts on its chunks and will drop it.
func (s *Stage) Drop(d manifest.Digest) error {
	dir, err := s.hold(d, false)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.held[d]
	defer f.Close()
	delete(s.held, d)
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil
	}
	return os.RemoveAll(dir)
}

// Space is the room in the stage.
func (s *Stage) Space() manifest.Space { return spaceAt(s.dir) }

// Sweep removes the blobs that no process holds and that nobody touched for age.
func (s *Stage) Sweep(ctx context.Context, age time.Duration) (manifest.Swept, error) {
	var swept manifest.Swept
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return swept, stageFailure("sweep", err)
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return swept, ctx.Err()
		}
		dir := filepath.Join(s.dir, e.Name())
		freed, gone, err := sweepBlob(dir, age)
		switch {
		case err != nil:
			return swept, stageFailure("sweep", err)
		case gone:
			swept.Blobs++
			swept.Bytes += freed
		default:
			swept.Held++
		}
	}
	return swept, nil
}

func sweepBlob(dir string, age time.Duration) (freed int64, gone bool, err error) {
	info, err := os.Stat(dir)
	if err != nil || time.Since(info.ModTime()) < age {
		return 0, false, nil
	}
	f, err := lockFolder(dir, syscall.LOCK_EX)
	if err != nil {
		return 0, false, nil // held, or swept by somebody else
	}
	defer f.Close()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, false, err
	}
	for _, e := range entries {
		if i, err := e.Info(); err == nil {
			freed += i.Size()
		}
	}
	return freed, true, os.RemoveAll(dir)
}

// stageFailure types an error of the stage's file system.
func stageFailure(step string, err error) error {
	var f *manifest.Failure
	switch {
	case errors.As(err, &f):
		return err
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return manifest.Fail(manifest.KindSpace, step, "%w", err).Advise("free some space on the host; what has arrived is kept, so run the same command again")
	case errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return manifest.Fail(manifest.KindPermission, step, "%w", err).Advise("give this user the right to write there, or name another folder with --state-dir")
	}
	return manifest.Fail(manifest.KindInternal, step, "%w", err)
}

var errSwept = fmt.Errorf("the folder was swept: %w", os.ErrNotExist)

// lockFolder opens dir and locks it without waiting. A folder that went away meanwhile is errSwept.
func lockFolder(dir string, how int) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	var held, named syscall.Stat_t
	if syscall.Fstat(int(f.Fd()), &held) != nil || syscall.Stat(dir, &named) != nil || held.Ino != named.Ino {
		f.Close()
		return nil, errSwept
	}
	return f, nil
}
