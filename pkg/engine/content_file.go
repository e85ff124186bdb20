package engine

import (
	"io"
	"os"
	"path/filepath"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A content store keeps each blob in a file named by its digest, which never changes. Whoever may read that file (root, the
// owner of a rootless engine) need not have its bytes carried through the engine's processes, which costs more than all
// the rest of sending them. That the store has a blob, and for whom, only the engine knows: so List and small documents
// come from it, and a file is believed no more than any other bytes: readers verify what they read.

// largeBlob is the size in bytes from which on a blob's file is looked for.
const largeBlob = 1 << 20

// storeFolders are where below an engine's root its blobs may lie: of a containerd that serves others too, and of the one
// that dockerd starts for itself.
func storeFolders(root string) []string {
	const blobs = "io.containerd.content.v1.content/blobs/sha256"
	if !filepath.IsAbs(root) {
		return nil
	}
	return []string{filepath.Join(root, blobs), filepath.Join(root, "containerd", "daemon", blobs)}
}

// file opens the blob d, from offset on, where it lies; nil when it is not to be had there.
func (c *Content) file(d manifest.Descriptor, offset int64) io.ReadCloser {
	if d.Size < largeBlob {
		return nil
	}
	for _, folder := range c.folders {
		f, err := os.Open(filepath.Join(folder, d.Digest.Encoded()))
		if err != nil {
			continue
		}
		info, err := f.Stat()
		if err == nil && info.Mode().IsRegular() && info.Size() == d.Size {
			if _, err = f.Seek(offset, io.SeekStart); err == nil {
				return f
			}
		}
		f.Close()
	}
	return nil
}
