package source

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// files is a set of files with slash-separated names: an indexed tar or a folder. Its methods may be called from several
// goroutines.
type files interface {
	// open reads a file at random; fs.ErrNotExist when there is none of that name.
	open(name string) (section, error)
	close() error
}

// section is one file's bytes.
type section interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// cleanName brings a name in an archive into its one form: no leading "./", no way out. It fails for anything that could
// mean a place outside.
func cleanName(name string) (string, error) {
	c := path.Clean(name)
	if strings.HasPrefix(name, "/") || c == ".." || strings.HasPrefix(c, "../") || strings.ContainsAny(name, "\\\x00") {
		return "", malformed("the archive has an entry named %.200q", name)
	}
	return c, nil
}

// readSmall reads a whole file of at most max bytes.
func readSmall(from files, name string, max int64) ([]byte, error) {
	f, err := from.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > max {
		return nil, malformed("%.200s has %s, more than %s", name, manifest.FormatBytes(f.Size()), manifest.FormatBytes(max))
	}
	raw := make([]byte, f.Size())
	if _, err := f.ReadAt(raw, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, malformed("read %.200s: %w", name, err)
	}
	return raw, nil
}

// folder is a folder of the file system. Links that lead out of it do not count as files of it.
type folder struct{ root *os.Root }

func openFolder(dir string) (*folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &folder{root: root}, nil
}

func (f *folder) open(name string) (section, error) {
	name, err := cleanName(name)
	if err != nil {
		return nil, err
	}
	file, err := f.root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = malformed("%s is not a regular file", name)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &fileSection{File: file, size: info.Size()}, nil
}

func (f *folder) close() error {
	if err := f.root.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}

// fileSection is a whole file.
type fileSection struct {
	*os.File
	size int64
}

// Size returns the file's size in bytes when it was opened.
func (f *fileSection) Size() int64 { return f.size }

// openSection reads the blob d from s, from offset on, and checks it.
func openSection(s section, d manifest.Descriptor, offset int64) (*manifest.Checked, error) {
	if d.Size != manifest.UnknownSize && d.Size != s.Size() {
		s.Close()
		return nil, integrity("the blob %s has %d bytes, not %d", d.Digest, s.Size(), d.Size)
	}
	d.Size = s.Size()
	r := io.NewSectionReader(s, offset, max(0, d.Size-offset))
	return manifest.NewChecked(struct {
		io.Reader
		io.Closer
	}{r, s}, d, offset), nil
}
