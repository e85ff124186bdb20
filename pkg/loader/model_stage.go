//go:build linux

package loader

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/klauspost/compress/zstd"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// A fileStage keeps the files of models that are on their way. A large one lies in the very file that will be placed, as
// files/<hex of its digest>, so that nothing is copied: each chunk is written at its offset and then noted in
// files/<hex>.done, so that a push that was cut off goes on; whoever writes it holds a lock on that list. A push that is sent
// a file which another one writes keeps it as files/<hex>~<process>. Small files stay in the packs in which they came.
type fileStage struct {
	dir  string
	lock *os.File // on dir, shared, from the first file on that this process has to do with; guarded by mu
	zstd *zstd.Decoder
	raw  sync.Pool // of *[]byte, for decoded chunks

	mu      sync.Mutex
	large   map[manifest.Digest]*largeFile
	packs   []*pack       // sound ones, in the order of their arrival
	arrived chan struct{} // closed and replaced whenever something arrives
}

// largeFile is one file that arrives chunk by chunk.
type largeFile struct {
	path string
	file *os.File
	list *os.File

	mu     sync.Mutex
	have   map[int]bool
	older  bool // some of it came to another process, which may have died with its machine
	hash   hash.Hash
	hashed int  // how many chunks are in hash, from the first one on
	busy   bool // somebody hashes the next one
}

func openFileStage(dir string) (*fileStage, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(uint64(manifest.ChunkSize)))
	if err != nil {
		return nil, err
	}
	s := &fileStage{dir: dir, zstd: z, large: map[manifest.Digest]*largeFile{}, arrived: make(chan struct{})}
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

// fileFailure is stageFailure where others may have put a link, as beside a repository.
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
	f := &largeFile{path: path, file: file, list: list, have: map[int]bool{}, hash: sha256.New()}
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
	if f.has(index) {
		return nil // sent twice; what may be hashed already stays as it is
	}
	if err := f.writeAt(raw, int64(index)*manifest.ChunkSize); err != nil {
		return err
	}
	if err := f.note(index); err != nil {
		return err
	}
	if f.claim(index) { // while it is at hand
		f.hash.Write(raw)
		f.release()
	}
	return nil
}

// atOnce is how many bytes of a file are written at once. For 2 MiB and more at a place that is a multiple of that, the kernel
// takes its largest pages, and a virtual machine that hands those back to its host when they are free gets each anew: a
// gigabyte then took 2.9 s to write, else 0.2 s.
const atOnce = 1 << 20

func (f *largeFile) writeAt(raw []byte, at int64) error {
	for part := range slices.Chunk(raw, atOnce) {
		if _, err := f.file.WriteAt(part, at); err != nil {
			return err
		}
		at += int64(len(part))
	}
	return nil
}

func (f *largeFile) has(index int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.have[index]
}

func (f *largeFile) note(index int) error {
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

// report says which chunks of the files are there. Small files are read and checked; of large ones the whole is, once it is
// there.
func (s *fileStage) report(digests []manifest.Digest) ([]manifest.Staged, error) {
	if err := s.hold(); err != nil {
		return nil, fileFailure("read stage", err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fileFailure("read stage", err)
	}
	if len(entries) == 0 {
		return nil, nil // as always but after a failure
	}
	small := s.adopt(entries, digests)
	var all []manifest.Staged
	for _, d := range digests {
		if err := manifest.CheckDigest(d); err != nil {
			return nil, err
		}
		if size, ok := small[d]; ok {
			all = append(all, manifest.Staged{Digest: d, Size: size, Chunks: []int{0}})
			continue
		}
		f, err := s.open(d, false)
		switch {
		case err == nil:
			all = append(all, manifest.Staged{Digest: d, Size: manifest.UnknownSize, Chunks: f.chunks()})
		case !errors.Is(err, os.ErrNotExist):
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

// drop removes from the stage what a plan needed of it, once that is in the trees that will be placed.
func (s *fileStage) drop(digests map[manifest.Digest]bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := []error{s.dropPacksLocked(digests)}
	for d, f := range s.large {
		if digests[d] {
			f.close()
			delete(s.large, d)
			errs = append(errs, gone(os.Remove(f.path+".done")), gone(os.Remove(f.path)))
		}
	}
	return errors.Join(append(errs, s.dropLeft(digests))...)
}

// dropLeft removes what processes that died left of these files.
func (s *fileStage) dropLeft(digests map[manifest.Digest]bool) error {
	entries, err := os.ReadDir(s.dir) // as a rule it has none, while digests may be thousands
	errs := []error{err}
	for _, e := range entries {
		d := digest.NewDigestFromEncoded(digest.SHA256, strings.TrimSuffix(e.Name(), ".done"))
		if digests[d] && free(s.path(d)+".done") {
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
