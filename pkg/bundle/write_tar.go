package bundle

import (
	"archive/tar"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// tarStore writes a bundle as one tar, whole or cut.
type tarStore struct {
	out   *output
	cut   *cutter
	tar   *tar.Writer // nil after close
	mtime time.Time
	index manifest.Digest
}

func newTarStore(out *output, o WriteOptions, hashed bool, r *release) *tarStore {
	cut := &cutter{dir: out.work, limit: o.Split, hashed: hashed, flush: out.medium.removable}
	mtime := o.Created
	if mtime.IsZero() {
		mtime = time.Unix(0, 0)
	}
	return &tarStore{out: out, cut: cut, tar: tar.NewWriter(cut), mtime: mtime, index: r.written.Index}
}

func (s *tarStore) put(name string, d manifest.Descriptor, fill func(io.Writer) error) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: d.Size, Mode: 0o644, ModTime: s.mtime, Format: tar.FormatUSTAR}
	if d.Size > octalMax {
		h.Format = tar.FormatGNU
	}
	if err := s.tar.WriteHeader(h); err != nil {
		return err
	}
	return fill(s.tar)
}

func (s *tarStore) close() error {
	if s.tar == nil {
		return nil
	}
	err := s.tar.Close()
	s.tar = nil
	if cerr := s.cut.close(); err == nil {
		err = cerr
	}
	return err
}

func (s *tarStore) made() []made { return s.cut.files }

func (s *tarStore) publish() ([]string, int64, error) {
	if s.cut.limit > 0 {
		return s.publishParts()
	}
	f := s.cut.files[0]
	return []string{s.out.to}, f.size, os.Rename(f.path, s.out.to)
}

// publishParts names the parts and, last, the list of them: without it they are no bundle.
func (s *tarStore) publishParts() ([]string, int64, error) {
	doc := partsDocument{Index: s.index}
	for n, f := range s.cut.files {
		doc.Parts = append(doc.Parts, part{Name: filepath.Base(partName(s.out.to, n)), Size: f.size, Digest: f.digest})
		doc.Size += f.size
	}
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, 0, err
	}
	list, beside := s.out.to+partsSuffix, filepath.Join(s.out.work, "parts.json")
	if err := writeSynced(beside, append(raw, '\n')); err != nil {
		return nil, 0, err
	}
	if err := removeIfThere(list); err != nil {
		return nil, 0, err
	}
	var paths []string
	for n, f := range s.cut.files {
		paths = append(paths, partName(s.out.to, n))
		if err := os.Rename(f.path, partName(s.out.to, n)); err != nil {
			return nil, 0, err
		}
	}
	// Of a former bundle that had more parts, those would follow ours where somebody joins them by cat.
	for n := len(s.cut.files); removeIfPart(partName(s.out.to, n)); n++ {
	}
	return append(paths, list), doc.Size + int64(len(raw)) + 1, os.Rename(beside, list)
}

// size is the size in bytes of the release in the form that o asks for, without the list of parts.
func (r *release) size(o WriteOptions) int64 {
	if !o.Folder {
		return r.tarSize()
	}
	var n int64
	r.each(func(size int64) { n += size })
	return n
}

// tarSize is the size in bytes of the release as a tar.
func (r *release) tarSize() int64 {
	n := int64(2 * tarBlock)
	r.each(func(size int64) { n += tarBlock + (size+tarBlock-1)/tarBlock*tarBlock })
	return n
}

// each tells the size of each file of the release.
func (r *release) each(tell func(size int64)) {
	docs, _ := r.documents() // write meets the same error
	for _, d := range docs {
		tell(int64(len(d.raw)))
	}
	for _, b := range r.blobs {
		tell(b.Size)
	}
}
