//go:build linux

package loader

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A pack is one file of the stage that holds many small files of models, as they came together: ten thousand names in the
// stage would cost more than their bytes. It begins with the number of its parts and the sha256 and size of each; then come
// their bytes. Whoever writes it holds a lock on it.
type pack struct {
	path  string
	parts []manifest.Part
	ours  bool // this process wrote it
}

const (
	packSuffix   = ".pack"
	packPart     = sha256.Size + 8 // bytes of a part in the head
	maxPackParts = 1 << 14
	maxPack      = 4 + maxPackParts*packPart + manifest.ChunkSize
)

// pack keeps small whole files, one behind the other in c. Each is checked against its digest.
func (s *fileStage) pack(parts []manifest.Part, c Chunk) error {
	if len(parts) > maxPackParts {
		return manifest.Fail(manifest.KindUsage, "stage", "a pack of %d files", len(parts))
	}
	return s.decoded(c, func(raw []byte) error {
		if err := checkParts(parts, raw); err != nil {
			return err
		}
		k := &pack{parts: parts, ours: true}
		if err := k.write(s.dir, raw); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.packs = append(s.packs, k)
		return nil
	})
}

// checkParts makes sure that raw holds parts, each what its digest says.
func checkParts(parts []manifest.Part, raw []byte) error {
	for _, p := range parts {
		if err := manifest.CheckDigest(p.Digest); err != nil {
			return err
		}
		if p.Size < 0 || p.Size > int64(len(raw)) {
			return manifest.Fail(manifest.KindIntegrity, "stage", "a pack is shorter than its files")
		}
		if sum := sha256.Sum256(raw[:p.Size]); hex.EncodeToString(sum[:]) != p.Digest.Encoded() {
			return manifest.Fail(manifest.KindIntegrity, "stage", "file %s arrived damaged", p.Digest).
				Advise("push again: it will be sent anew")
		}
		raw = raw[p.Size:]
	}
	return nil
}

// write makes the pack's file in dir.
func (k *pack) write(dir string, raw []byte) error {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(k.parts)))
	for _, p := range k.parts {
		sum, err := hex.DecodeString(p.Digest.Encoded())
		if err != nil {
			return err
		}
		head = binary.BigEndian.AppendUint64(append(head, sum...), uint64(p.Size))
	}
	f, err := os.CreateTemp(dir, "*"+packSuffix)
	if err != nil {
		return err
	}
	k.path = f.Name()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	if err == nil {
		_, err = f.Write(head)
	}
	if err == nil {
		_, err = f.Write(raw)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(k.path)
	}
	return err
}

// readPack reads the pack at path and returns the bytes of its parts. The error is errBusy when another process writes it, or
// is about to.
func readPack(path string) (*pack, []byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	free := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !free || info.Size() == 0 {
		return nil, nil, errBusy
	}
	raw := make([]byte, min(info.Size(), maxPack))
	if _, err := io.ReadFull(f, raw); err != nil {
		return nil, nil, err
	}
	k := &pack{path: path}
	if len(raw) < 4 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	count, raw := int64(binary.BigEndian.Uint32(raw)), raw[4:]
	if count > maxPackParts || count*packPart > int64(len(raw)) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	for range count {
		d := manifest.Digest("sha256:" + hex.EncodeToString(raw[:sha256.Size]))
		k.parts = append(k.parts, manifest.Part{Digest: d, Size: int64(binary.BigEndian.Uint64(raw[sha256.Size:]))})
		raw = raw[packPart:]
	}
	return k, raw, nil
}

// adopt takes over the packs that earlier pushes left, as far as anything of digests is in them, and returns the sizes of
// what all packs have of digests. A pack that is not sound is removed.
func (s *fileStage) adopt(entries []fs.DirEntry, digests []manifest.Digest) map[manifest.Digest]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted, known := map[manifest.Digest]bool{}, map[string]*pack{}
	for _, d := range digests {
		wanted[d] = true
	}
	for _, k := range s.packs {
		known[k.path] = k
	}
	s.packs = nil
	have := map[manifest.Digest]int64{}
	for _, e := range entries {
		path := filepath.Join(s.dir, e.Name())
		if !strings.HasSuffix(path, packSuffix) {
			continue
		}
		k, raw, err := readPack(path)
		if err == nil {
			err = checkParts(k.parts, raw)
		}
		switch {
		case errors.Is(err, errBusy):
		case err != nil:
			os.Remove(path)
		default:
			k.ours = known[path] != nil && known[path].ours
			if k.has(wanted, have) || k.ours {
				s.packs = append(s.packs, k)
			}
		}
	}
	return have
}

// has reports whether anything of wanted is in the pack, and notes the sizes of that in have.
func (k *pack) has(wanted map[manifest.Digest]bool, have map[manifest.Digest]int64) bool {
	found := false
	for _, p := range k.parts {
		if wanted[p.Digest] {
			have[p.Digest], found = p.Size, true
		}
	}
	return found
}

// dropPacksLocked removes this process's packs, and those that earlier pushes left when digests are all that they hold.
func (s *fileStage) dropPacksLocked(digests map[manifest.Digest]bool) error {
	var errs []error
	for _, k := range s.packs {
		needed := true
		for _, p := range k.parts {
			needed = needed && digests[p.Digest]
		}
		if k.ours || needed {
			errs = append(errs, gone(os.Remove(k.path)))
		}
	}
	s.packs = nil
	return errors.Join(errs...)
}
