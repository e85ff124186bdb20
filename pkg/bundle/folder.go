package bundle

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// folder is a bundle as a folder of files. Links are not followed, not even those that stay inside, and nothing but regular
// files is opened. Files that do not belong to a bundle are not looked at, except among the blobs, where nothing else may be;
// hidden ones excepted, which file managers leave everywhere.
type folder struct {
	root  *os.Root
	sizes map[key]int64
}

func openFolder(dir string) (*folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	f := &folder{root: root, sizes: map[key]int64{}}
	if err := f.list(); err != nil {
		root.Close()
		return nil, err
	}
	return f, nil
}

// list learns which blobs there are.
func (f *folder) list() error {
	for dir := range strings.SplitSeq("blobs,blobs/sha256", ",") {
		info, err := f.root.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return malformed("it has no folder %s", dir)
		case err != nil:
			return err
		case !info.IsDir():
			return malformed("%s is not a folder", dir)
		}
	}
	at, err := f.root.Open("blobs/sha256")
	if err != nil {
		return err
	}
	defer at.Close()
	for {
		entries, err := at.ReadDir(1024)
		if len(entries) == 0 {
			if err != nil && !errors.Is(err, io.EOF) {
				return unreadable(err)
			}
			return nil
		}
		for _, e := range entries {
			if err := f.add(e); err != nil {
				return err
			}
		}
	}
}

func (f *folder) add(e fs.DirEntry) error {
	name := path.Join("blobs/sha256", e.Name())
	if e.Name()[0] == '.' {
		return nil
	}
	d, ok := blobDigest(name)
	if !ok {
		return malformed("%.200q lies among the blobs and is none", e.Name())
	}
	if len(f.sizes) >= maxEntries {
		return malformed("it has more than %d blobs", maxEntries)
	}
	info, err := e.Info()
	if err != nil {
		return unreadable(err)
	}
	if !info.Mode().IsRegular() {
		return malformed("%s is not a regular file", name)
	}
	f.sizes[keyOf(d)] = info.Size()
	return nil
}

// open opens a regular file, which is not a link.
func (f *folder) open(name string) (*openFile, error) {
	before, err := f.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, malformed("%s is not a regular file", name)
	}
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a fifo in its place must not hold us up
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && (!info.Mode().IsRegular() || !os.SameFile(before, info)) {
		err = malformed("%s was exchanged while it was opened", name)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &openFile{File: file, size: info.Size()}, nil
}

func (f *folder) document(name string) (section, error) {
	file, err := f.open(name)
	if err != nil {
		return nil, err
	}
	return file, nil
}

func (f *folder) blob(d manifest.Digest) (section, error) { return f.document(blobPath(d)) }

func (f *folder) size(d manifest.Digest) (int64, bool) {
	n, ok := f.sizes[keyOf(d)]
	return n, ok
}

func (f *folder) offset(manifest.Digest) int64 { return 0 }

func (f *folder) stray(reached func(key) bool) string { return strayOf(f.sizes, reached) }

func (f *folder) guilty(context.Context, manifest.Digest) ([]string, error) { return nil, nil }

func (f *folder) Close() error {
	if err := f.root.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}

// openFile is a whole file.
type openFile struct {
	*os.File
	size int64
}

// Size returns how many bytes the file had when it was opened.
func (f *openFile) Size() int64 { return f.size }

func (f *openFile) part(int64) string { return "" }

func (f *openFile) blame(context.Context, int64, int64) ([]string, error) { return nil, nil }
