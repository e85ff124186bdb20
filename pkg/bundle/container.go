package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// container is where the files of a bundle lie: in a tar or in a folder. Its methods may be called from several goroutines.
type container interface {
	// document opens one of the files that are no blobs, blob a blob; fs.ErrNotExist when there is none.
	document(name string) (section, error)
	blob(d manifest.Digest) (section, error)
	// size is how many bytes a blob had when the container was opened; offset gives the order in which blobs are best read.
	size(d manifest.Digest) (int64, bool)
	offset(d manifest.Digest) int64
	// stray names a blob that reached does not know; empty when there is none.
	stray(reached func(key) bool) string
	// guilty names the parts in which a damaged blob is damaged; nil where there are no parts.
	guilty(ctx context.Context, d manifest.Digest) ([]string, error)
	io.Closer
}

// section is one file's bytes.
type section interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

func strayOf[V any](blobs map[key]V, reached func(key) bool) string {
	for k := range blobs {
		if !reached(k) {
			return fmt.Sprintf("%s%x", blobFolder, k)
		}
	}
	return ""
}

// readWhole reads a whole section of at most limit bytes; name is for people.
func readWhole(s section, name string, limit int64) ([]byte, error) {
	if s.Size() > limit {
		return nil, malformed("%s has %s, at most %s are allowed", name, manifest.FormatBytes(s.Size()), manifest.FormatBytes(limit))
	}
	raw := make([]byte, s.Size())
	n, err := s.ReadAt(raw, 0)
	switch {
	case n == len(raw):
		return raw, nil
	case err == nil, errors.Is(err, io.EOF):
		return nil, cut("%s ends after %d of %d bytes", name, n, len(raw))
	}
	return nil, unreadable(fmt.Errorf("%s: %w", name, err))
}
