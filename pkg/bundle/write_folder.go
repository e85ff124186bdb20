package bundle

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// folderStore writes a bundle as an OCI layout folder.
type folderStore struct {
	out   *output
	root  string // where it grows
	files []made
	size  int64
	done  bool
}

func newFolderStore(out *output) *folderStore {
	return &folderStore{out: out, root: filepath.Join(out.work, "layout")}
}

func (s *folderStore) put(name string, d manifest.Descriptor, fill func(io.Writer) error) error {
	path := filepath.Join(s.root, filepath.FromSlash(name))
	if len(s.files) == 0 {
		if err := os.MkdirAll(filepath.Join(s.root, filepath.FromSlash(blobFolder)), 0o755); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	s.files = append(s.files, made{path: path, size: d.Size, digest: d.Digest})
	s.size += d.Size
	err = fill(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func (s *folderStore) close() error {
	if s.done {
		return nil
	}
	s.done = true
	paths := make([]string, len(s.files))
	for n, f := range s.files {
		paths[n] = f.path
	}
	return syncFiles(s.root, paths)
}

func (s *folderStore) made() []made { return s.files }

// publish puts the folder into its place; a former bundle goes with the work folder.
func (s *folderStore) publish() ([]string, int64, error) {
	to, former := s.out.to, filepath.Join(s.out.work, "former")
	if _, err := os.Lstat(to); err == nil {
		if exchange(s.root, to) == nil {
			return []string{to}, s.size, nil
		}
		if err := os.Rename(to, former); err != nil {
			return nil, 0, err
		}
	}
	return []string{to}, s.size, os.Rename(s.root, to)
}

// replaceableFolder makes sure that the folder to is empty, or a bundle.
func replaceableFolder(to string) error {
	entries, err := os.ReadDir(to)
	if err != nil {
		return writeFailure(to, err)
	}
	if len(entries) == 0 || isBundleFolder(to) {
		return nil
	}
	return manifest.Fail(manifest.KindUsage, "write "+to, "that folder holds other things than a bundle").
		Advise("name a file in it, such as -o %s", filepath.Join(to, "release.tar"))
}

// isBundleFolder reports whether the layout in dir is one that Write made, going by its index.json.
func isBundleFolder(dir string) bool {
	f, err := os.Open(filepath.Join(dir, indexFile))
	if errors.Is(err, fs.ErrNotExist) || err != nil {
		return false
	}
	defer f.Close()
	var index ocispec.Index
	raw, err := io.ReadAll(io.LimitReader(f, maxDocument))
	return err == nil && json.Unmarshal(raw, &index) == nil && index.ArtifactType == IndexType
}
