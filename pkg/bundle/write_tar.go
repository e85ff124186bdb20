package bundle

import (
	"archive/tar"
	"io"
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
