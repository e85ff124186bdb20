//go:build linux

package loader

import (
	"context"
	"encoding/hex"
	"io"
	"os"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// followers is how many large files are hashed at once while they arrive.
const followers = 4

// await returns when all large files are there whole; they are hashed while they arrive. One that is not what its digest says
// is removed: KindStale when part of it came in an earlier push, so that it is sent once more, else KindIntegrity.
func (s *fileStage) await(ctx context.Context, files []manifest.Descriptor) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(followers)
	for _, d := range files {
		if d.Size > manifest.SmallFile {
			g.Go(func() error { return s.follow(ctx, d) })
		}
	}
	return g.Wait()
}

// until waits until something that arrives makes done true.
func (s *fileStage) until(ctx context.Context, done func() bool) error {
	for {
		s.mu.Lock()
		arrived := s.arrived
		s.mu.Unlock()
		if done() {
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// follow sees that a large file is hashed chunk by chunk: those that come in their order by whoever writes them, others here.
func (s *fileStage) follow(ctx context.Context, d manifest.Descriptor) error {
	f, err := s.open(d.Digest, true)
	if err != nil {
		return fileFailure("stage", err)
	}
	buf := make([]byte, copyBuffer)
	for i := range manifest.Chunks(d.Size) {
		mine := false
		err := s.until(ctx, func() bool {
			mine = f.claim(i)
			return mine || f.isHashed(i)
		})
		if err == nil && mine {
			err = f.hashChunk(i, manifest.ChunkLen(d.Size, i), buf)
		}
		if err != nil {
			return err
		}
		startWriting(f.file, int64(i)*manifest.ChunkSize, manifest.ChunkLen(d.Size, i))
	}
	info, err := f.file.Stat()
	if err != nil {
		return fileFailure("stage", err)
	}
	if got := hex.EncodeToString(f.hash.Sum(nil)); got != d.Digest.Encoded() || info.Size() != d.Size {
		return s.damaged(d, f, got)
	}
	return nil
}

// startWriting has the kernel begin to bring a part of a file to the disk, so that little is left to do when the whole must be
// there. Left alone, it would begin to after half a minute.
func startWriting(f *os.File, from, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), from, n, unix.SYNC_FILE_RANGE_WRITE) // a hint; what counts is the sync at the end
}

// onlyWriter hides every other method.
type onlyWriter struct{ io.Writer }

// claim reports whether the caller is to hash chunk index: it is there, it is the next one, and nobody is at it. Then release
// must follow.
func (f *largeFile) claim(index int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy || f.hashed != index || !f.have[index] {
		return false
	}
	f.busy = true
	return true
}

func (f *largeFile) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy, f.hashed = false, f.hashed+1
}

// isHashed reports whether chunk index is in the hash.
func (f *largeFile) isHashed(index int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return index < f.hashed
}

// hashChunk hashes a chunk that was claimed, out of the file. One that is shorter than it should be makes the digest differ.
func (f *largeFile) hashChunk(index int, size int64, buf []byte) error {
	defer f.release()
	part := io.NewSectionReader(f.file, int64(index)*manifest.ChunkSize, size)
	if _, err := io.CopyBuffer(onlyWriter{f.hash}, part, buf); err != nil {
		return fileFailure("stage", err)
	}
	return nil
}

// damaged removes a file that is not what its digest says.
func (s *fileStage) damaged(d manifest.Descriptor, f *largeFile, got string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.large, d.Digest)
	os.Remove(f.path + ".done")
	os.Remove(f.path)
	f.close()
	if f.older {
		return manifest.Fail(manifest.KindStale, "stage", "what an earlier push had sent of file %s is damaged", d.Digest)
	}
	failed := manifest.Fail(manifest.KindIntegrity, "stage", "file %s arrived damaged, its sha256 is %s", d.Digest, got).
		Advise("push again: it will be sent anew")
	failed.Absent = []manifest.Digest{d.Digest}
	return failed
}
