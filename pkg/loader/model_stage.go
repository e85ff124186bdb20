//go:build linux

package loader

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"github.com/klauspost/compress/zstd"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A fileStage keeps the files of models that are on their way, each in the very file that will be placed, so that nothing is
// copied. A small file appears whole, as files/<hex of its digest>. Of a large one each chunk is written at its offset and
// then noted in files/<hex>.done, so that a push that was cut off goes on; whoever writes it holds a lock on that list. A push
// that is sent a file which another one writes keeps it as files/<hex>~<process>.
type fileStage struct {
	dir  string
	lock *os.File // on dir, shared, from the first file on that this process has to do with; guarded by mu
	zstd *zstd.Decoder
	raw  sync.Pool // of *[]byte, for decoded chunks

	mu      sync.Mutex
	large   map[manifest.Digest]*largeFile
	whole   map[manifest.Digest]bool // there, and their digests were checked by this process
	names   int                      // temporary names given away
	arrived chan struct{}            // closed and replaced whenever something arrives
}

// largeFile is one file that arrives chunk by chunk.
type largeFile struct {
	path string
	file *os.File
	list *os.File

	mu    sync.Mutex
	have  map[int]bool
	older bool // some of it came to another process, which may have died with its machine
}

func openFileStage(dir string) (*fileStage, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(uint64(manifest.ChunkSize)))
	if err != nil {
		return nil, err
	}
	s := &fileStage{dir: dir, zstd: z, large: map[manifest.Digest]*largeFile{}, whole: map[manifest.Digest]bool{}, arrived: make(chan struct{})}
	s.raw.New = func() any { b := make([]byte, 0, manifest.ChunkSize); return &b }
	return s, nil
}

func (s *fileStage) path(d manifest.Digest) string { return filepath.Join(s.dir, d.Encoded()) }

// at is where the file d lies once it is whole.
func (s *fileStage) at(d manifest.Digest) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.large[d]; f != nil {
		return f.path
	}
	return s.path(d)
}

// hold keeps sweeps from removing anything until close.
func (s *fileStage) hold() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock != nil {
		return nil
	}
	f, err := os.OpenFile(s.dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil { // a sweep is soon over
		f.Close()
		return err
	}
	s.lock = f
	return nil
}

// put writes one chunk of a large file at its offset.
func (s *fileStage) put(d manifest.Digest, c Chunk) error {
	return s.decoded(c, func(raw []byte) error {
		if err := manifest.CheckDigest(d); err != nil {
			return err
		}
		f, err := s.open(d, true)
		if err != nil {
			return err
		}
		return f.write(c.Index, raw)
	})
}

// pack writes small whole files, one behind the other in c. Each is checked against its digest.
func (s *fileStage) pack(parts []manifest.Part, c Chunk) error {
	return s.decoded(c, func(raw []byte) error {
		for _, p := range parts {
			if p.Size < 0 || p.Size > int64(len(raw)) {
				return manifest.Fail(manifest.KindIntegrity, "stage", "a pack is shorter than its files")
			}
			if err := s.putWhole(p.Digest, raw[:p.Size]); err != nil {
				return err
			}
			raw = raw[p.Size:]
		}
		return nil
	})
}

// decoded hands the bytes of a sound chunk to keep, and tells those who wait.
func (s *fileStage) decoded(c Chunk, keep func(raw []byte) error) error {
	if err := c.check(); err != nil {
		return manifest.Fail(manifest.KindIntegrity, "stage", "%w", err)
	}
	if err := s.hold(); err != nil {
		return fileFailure("stage", err)
	}
	buf := s.raw.Get().(*[]byte)
	defer s.raw.Put(buf)
	raw, err := c.decode(s.zstd, *buf)
	if err != nil {
		return manifest.Fail(manifest.KindIntegrity, "stage", "%w", err)
	}
	if err := keep(raw); err != nil {
		return fileFailure("stage", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.arrived)
	s.arrived = make(chan struct{})
	return nil
}

// fileFailure is stageFailure for the stage beside a repository.
func fileFailure(step string, err error) error {
	if errors.Is(err, syscall.ELOOP) {
		return manifest.Fail(manifest.KindPermission, step, "there is a link where clara-push keeps its files: %w", err).Advise("remove it on the host")
	}
	return stageFailure(step, err)
}

// open returns the large file d, opened before or now; without create only if something of it is there, else its error is
// os.ErrNotExist.
func (s *fileStage) open(d manifest.Digest, create bool) (*largeFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.large[d]; f != nil && linked(f.file) {
		return f, nil
	}
	f, err := openLarge(s.path(d), create)
	if errors.Is(err, errBusy) {
		f, err = openLarge(s.path(d)+"~"+strconv.Itoa(os.Getpid()), create)
	}
	if err == nil {
		s.large[d] = f
	}
	return f, err
}

// openLarge opens the file at path and the list beside it. It fails with errBusy when another process writes them.
func openLarge(path string, create bool) (*largeFile, error) {
	flags := os.O_RDWR | syscall.O_NOFOLLOW
	if create {
		flags |= os.O_CREATE
	}
	list, err := os.OpenFile(path+".done", flags|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if syscall.Flock(int(list.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !linked(list) {
		list.Close()
		return nil, errBusy
	}
	moved := !exists(path) // into a tree that came to nothing: then the list means nothing
	file, err := os.OpenFile(path, flags|os.O_CREATE, fileMode)
	if err == nil && moved {
		err = list.Truncate(0)
	}
	if err == nil {
		err = file.Chmod(fileMode) // whatever the umask
	}
	if err != nil {
		list.Close()
		return nil, err
	}
	f := &largeFile{path: path, file: file, list: list, have: map[int]bool{}}
	for _, i := range readList(list) {
		f.have[i], f.older = true, true
	}
	return f, nil
}

var errBusy = errors.New("another push writes it")

// linked reports whether an open file still has a name.
func linked(f *os.File) bool {
	var st syscall.Stat_t
	return syscall.Fstat(int(f.Fd()), &st) == nil && st.Nlink > 0
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

func (f *largeFile) write(index int, raw []byte) error {
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

func (f *largeFile) close() {
	f.file.Close()
	f.list.Close()
}

// putWhole writes one small file, unless it is there.
func (s *fileStage) putWhole(d manifest.Digest, raw []byte) error {
	if err := manifest.CheckDigest(d); err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	if hex.EncodeToString(sum[:]) != d.Encoded() {
		return manifest.Fail(manifest.KindIntegrity, "stage", "file %s arrived damaged", d)
	}
	s.mu.Lock()
	s.names++
	temp := filepath.Join(s.dir, fmt.Sprintf("tmp-%d-%d", os.Getpid(), s.names))
	there := s.whole[d]
	s.mu.Unlock()
	if there {
		return nil
	}
	err := writeNew(temp, raw)
	if err == nil {
		err = os.Rename(temp, s.path(d))
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	s.settle(d)
	return nil
}

// settle notes that d is there whole.
func (s *fileStage) settle(d manifest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole[d] = true
}

func writeNew(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Chmod(fileMode), f.Close())
}

// report says which chunks of the files are there. Small files are read and checked; of large ones the whole is, once it is
// there.
func (s *fileStage) report(digests []manifest.Digest) ([]manifest.Staged, error) {
	var all []manifest.Staged
	if err := s.hold(); err != nil {
		return nil, fileFailure("read stage", err)
	}
	if entries, err := os.ReadDir(s.dir); err == nil && len(entries) == 0 {
		return nil, nil // as always but after a failure
	}
	for _, d := range digests {
		if err := manifest.CheckDigest(d); err != nil {
			return nil, err
		}
		s.mu.Lock()
		delete(s.whole, d)
		s.mu.Unlock()
		f, err := s.open(d, false)
		switch {
		case err == nil:
			all = append(all, manifest.Staged{Digest: d, Size: manifest.UnknownSize, Chunks: f.chunks()})
		case errors.Is(err, os.ErrNotExist):
			if size, ok := s.sound(d); ok {
				all = append(all, manifest.Staged{Digest: d, Size: size, Chunks: []int{0}})
			}
		default:
			return nil, fileFailure("read stage", err)
		}
	}
	return all, nil
}

func (f *largeFile) chunks() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	chunks := make([]int, 0, len(f.have))
	for i := range f.have {
		chunks = append(chunks, i)
	}
	slices.Sort(chunks)
	return chunks
}

// sound reports whether the small file d is there and is what its digest says; if not, what is there is removed.
func (s *fileStage) sound(d manifest.Digest) (size int64, ok bool) {
	info, err := os.Lstat(s.path(d))
	if err != nil {
		return 0, false
	}
	if info.Mode().IsRegular() && info.Size() <= manifest.SmallFile {
		raw, err := os.ReadFile(s.path(d))
		sum := sha256.Sum256(raw)
		if err == nil && hex.EncodeToString(sum[:]) == d.Encoded() {
			s.settle(d)
			return info.Size(), true
		}
	}
	os.Remove(s.path(d))
	return 0, false
}

// drop removes files from the stage.
func (s *fileStage) drop(digests map[manifest.Digest]int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for d := range digests {
		if f := s.large[d]; f != nil {
			f.close()
			delete(s.large, d)
			errs = append(errs, gone(os.Remove(f.path+".done")), gone(os.Remove(f.path)))
		}
		delete(s.whole, d)
		if free(s.path(d) + ".done") {
			errs = append(errs, gone(os.Remove(s.path(d)+".done")), gone(os.Remove(s.path(d))))
		}
	}
	return errors.Join(errs...)
}

// gone makes it no error that something was not there.
func gone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// close lets go of all files; what is there stays.
func (s *fileStage) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, f := range s.large {
		f.close()
		delete(s.large, d)
	}
	if s.lock != nil {
		s.lock.Close()
	}
}
