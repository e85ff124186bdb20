package bundle

import (
	"context"
	"io"
	"io/fs"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// tarFile is a tar whose entries are read where they lie: it is indexed once and nothing is unpacked.
type tarFile struct {
	whole
	documents map[string]span
	blobs     map[key]span
}

// whole is the bytes of a tar: one file, or several that are read as one.
type whole interface {
	io.ReaderAt
	io.Closer
	Size() int64
	// part names the file that holds the byte at offset; empty when there is only one.
	part(offset int64) string
	// blame names those of the files that hold n bytes from offset on and are not as they were made; all that do, when nobody
	// can tell.
	blame(ctx context.Context, offset, n int64) ([]string, error)
}

// span is where in a tar something lies.
type span struct{ offset, size int64 }

// indexTar reads the headers of a tar, which it then owns.
func indexTar(ctx context.Context, in whole) (*tarFile, error) {
	t := &tarFile{whole: in, documents: map[string]span{}, blobs: map[key]span{}}
	w := &tarWalk{in: &jumps{in: in}, part: in.part}
	err := w.walk(ctx, func(name string, size, offset int64, _ io.Reader) error {
		if d, ok := blobDigest(name); ok {
			t.blobs[keyOf(d)] = span{offset, size}
		} else {
			t.documents[name] = span{offset, size}
		}
		return nil
	})
	return t, err
}

func (t *tarFile) document(name string) (section, error) {
	s, ok := t.documents[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return t.section(s), nil
}

func (t *tarFile) blob(d manifest.Digest) (section, error) {
	s, ok := t.blobs[keyOf(d)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return t.section(s), nil
}

func (t *tarFile) section(s span) section {
	return tarSection{io.NewSectionReader(t.whole, s.offset, s.size)}
}

func (t *tarFile) size(d manifest.Digest) (int64, bool) {
	s, ok := t.blobs[keyOf(d)]
	return s.size, ok
}

func (t *tarFile) offset(d manifest.Digest) int64 { return t.blobs[keyOf(d)].offset }

func (t *tarFile) stray(reached func(key) bool) string { return strayOf(t.blobs, reached) }

func (t *tarFile) guilty(ctx context.Context, d manifest.Digest) ([]string, error) {
	s := t.blobs[keyOf(d)]
	return t.blame(ctx, s.offset, s.size)
}

// tarSection is one file within a tar; the tar stays open.
type tarSection struct{ *io.SectionReader }

// Close does nothing: the bytes belong to the whole tar.
func (tarSection) Close() error { return nil }

// jumps is a stretch of a file: passing over something reads nothing.
type jumps struct {
	in whole
	at int64
}

func (j *jumps) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := j.in.ReadAt(p, j.at)
	j.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (j *jumps) skip(n int64) error {
	j.at += n
	return nil
}

func (j *jumps) left() int64 { return j.in.Size() - j.at }
