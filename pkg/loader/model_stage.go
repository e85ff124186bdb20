package loader

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/klauspost/compress/zstd"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A fileStage keeps the files of models that are on their way, each in the file that will be placed: a chunk is written at
// its offset, and then noted in a list beside the file. So nothing is copied twice, and a push that was cut off goes on.
type fileStage struct {
	dir  string
	zstd *zstd.Decoder

	mu      sync.Mutex
	files   map[manifest.Digest]*stagedFile
	arrived chan struct{} // closed and replaced whenever something arrives
}

// stagedFile is one file on its way.
type stagedFile struct {
	mu   sync.Mutex
	file *os.File
	list *os.File
	have map[int]bool
}

func openFileStage(dir string) (*fileStage, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(manifest.ChunkSize)))
	if err != nil {
		return nil, err
	}
	return &fileStage{dir: dir, zstd: z, files: map[manifest.Digest]*stagedFile{}, arrived: make(chan struct{})}, nil
}

func (s *fileStage) path(d manifest.Digest) string { return filepath.Join(s.dir, d.Encoded()) }

// open returns the file d, opened before or now.
func (s *fileStage) open(d manifest.Digest) (*stagedFile, error) {
	if err := manifest.CheckDigest(d); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[d]; f != nil {
		return f, nil
	}
	file, err := os.OpenFile(s.path(d), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	list, err := os.OpenFile(s.path(d)+".done", os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		file.Close()
		return nil, err
	}
	f := &stagedFile{file: file, list: list, have: map[int]bool{}}
	for _, i := range readList(list) {
		f.have[i] = true
	}
	s.files[d] = f
	return f, nil
}

// readList reads the numbers of the chunks that are there; a number cut short does not count.
func readList(r io.Reader) []int {
	raw, _ := io.ReadAll(r)
	var all []int
	for ; len(raw) >= 4; raw = raw[4:] {
		all = append(all, int(binary.BigEndian.Uint32(raw)))
	}
	return all
}

// put writes one chunk at its offset.
func (s *fileStage) put(d manifest.Digest, c Chunk) error {
	if err := c.check(); err != nil {
		return manifest.Fail(manifest.KindIntegrity, "stage", "file %s: %w", d, err)
	}
	raw, err := c.decode(s.zstd, nil)
	if err != nil {
		return manifest.Fail(manifest.KindIntegrity, "stage", "file %s: %w", d, err)
	}
	f, err := s.open(d)
	if err != nil {
		return stageFailure("stage", err)
	}
	if err := f.write(c.Index, raw); err != nil {
		return stageFailure("stage", err)
	}
	s.tell()
	return nil
}

func (f *stagedFile) write(index int, raw []byte) error {
	if _, err := f.file.WriteAt(raw, int64(index)*manifest.ChunkSize); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.have[index] {
		return nil
	}
	f.have[index] = true
	_, err := f.list.Write(binary.BigEndian.AppendUint32(nil, uint32(index)))
	return err
}

// pack writes small whole files, one behind the other in body. Each is checked against its digest.
func (s *fileStage) pack(parts []manifest.Part, c Chunk) error {
	if err := c.check(); err != nil {
		return manifest.Fail(manifest.KindIntegrity, "stage", "pack: %w", err)
	}
	raw, err := c.decode(s.zstd, nil)
	if err != nil {
		return manifest.Fail(manifest.KindIntegrity, "stage", "pack: %w", err)
	}
	for _, p := range parts {
		if p.Size < 0 || p.Size > int64(len(raw)) {
			return manifest.Fail(manifest.KindIntegrity, "stage", "a pack is shorter than its files")
		}
		if err := s.putWhole(p.Digest, raw[:p.Size]); err != nil {
			return stageFailure("stage", err)
		}
		raw = raw[p.Size:]
	}
	s.tell()
	return nil
}

func (s *fileStage) putWhole(d manifest.Digest, raw []byte) error {
	if err := manifest.CheckDigest(d); err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	if hex.EncodeToString(sum[:]) != d.Encoded() {
		return manifest.Fail(manifest.KindIntegrity, "stage", "file %s arrived damaged", d)
	}
	f, err := os.CreateTemp(s.dir, "tmp-")
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), s.path(d)+".whole")
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func (s *fileStage) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// report says which chunks of the files are there. A file that is there whole has all its chunks.
func (s *fileStage) report(digests []manifest.Digest) ([]manifest.Staged, error) {
	var all []manifest.Staged
	for _, d := range digests {
		if err := manifest.CheckDigest(d); err != nil {
			return nil, err
		}
		if info, err := os.Lstat(s.path(d) + ".whole"); err == nil {
			n := manifest.Chunks(info.Size())
			chunks := make([]int, n)
			for i := range chunks {
				chunks[i] = i
			}
			all = append(all, manifest.Staged{Digest: d, Size: info.Size(), Chunks: chunks})
			continue
		}
		list, err := os.OpenFile(s.path(d)+".done", os.O_RDONLY|syscall.O_NOFOLLOW, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, stageFailure("read stage", err)
		}
		chunks := readList(list)
		list.Close()
		slices.Sort(chunks)
		all = append(all, manifest.Staged{Digest: d, Size: manifest.UnknownSize, Chunks: slices.Compact(chunks)})
	}
	return all, nil
}

// await returns the path of the file d as soon as it is there whole and its digest was checked; it hashes while the chunks
// arrive. A file that is not what its digest says is removed and reported as KindIntegrity.
func (s *fileStage) await(ctx context.Context, d manifest.Descriptor) (string, error) {
	whole := s.path(d.Digest) + ".whole"
	for {
		s.mu.Lock()
		arrived := s.arrived
		s.mu.Unlock()
		if _, err := os.Lstat(whole); err == nil {
			return whole, nil
		}
		if d.Size > manifest.SmallFile {
			return whole, s.follow(ctx, d, whole)
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// follow hashes a file chunk by chunk behind those who write it, and gives it its name when it is right.
func (s *fileStage) follow(ctx context.Context, d manifest.Descriptor, whole string) error {
	f, err := s.open(d.Digest)
	if err != nil {
		return stageFailure("stage", err)
	}
	h := sha256.New()
	for i := range manifest.Chunks(d.Size) {
		if err := s.awaitChunk(ctx, f, i); err != nil {
			return err
		}
		part := io.NewSectionReader(f.file, int64(i)*manifest.ChunkSize, manifest.ChunkLen(d.Size, i))
		if _, err := io.Copy(h, part); err != nil {
			return stageFailure("stage", err)
		}
	}
	s.mu.Lock()
	delete(s.files, d.Digest)
	s.mu.Unlock()
	defer f.file.Close()
	defer f.list.Close()
	defer os.Remove(s.path(d.Digest) + ".done")
	info, err := f.file.Stat()
	if err != nil {
		return stageFailure("stage", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != d.Digest.Encoded() || info.Size() != d.Size {
		os.Remove(s.path(d.Digest))
		return manifest.Fail(manifest.KindIntegrity, "stage", "file %s arrived damaged: %d bytes, sha256 %s", d.Digest, info.Size(), got).
			Advise("push again: it will be sent anew")
	}
	return os.Rename(s.path(d.Digest), whole)
}

func (s *fileStage) awaitChunk(ctx context.Context, f *stagedFile, index int) error {
	for {
		s.mu.Lock()
		arrived := s.arrived
		s.mu.Unlock()
		f.mu.Lock()
		have := f.have[index]
		f.mu.Unlock()
		if have {
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// clear removes everything from the stage.
func (s *fileStage) clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, f := range s.files {
		f.file.Close()
		f.list.Close()
		delete(s.files, d)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("clear stage: %w", err)
		}
	}
	return nil
}
