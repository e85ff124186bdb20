//go:build linux

package loader

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/clara-push/clara-push/pkg/manifest"
	"golang.org/x/sys/unix"
)

// spaceAt is the room on the file system of path, or of its nearest parent that is there and may be looked at. What root
// alone may use is not counted, for root either.
func spaceAt(path string) manifest.Space {
	s := manifest.Space{Path: path, Free: manifest.UnknownSize, Inodes: manifest.UnknownSize}
	for dir := path; ; dir = filepath.Dir(dir) {
		var fs unix.Statfs_t
		err := unix.Statfs(dir, &fs)
		if err != nil {
			if unreadable(err) && dir != filepath.Dir(dir) {
				continue
			}
			return s
		}
		s.Free = int64(fs.Bavail) * int64(fs.Bsize)
		if fs.Files > 0 { // a file system without a fixed number of inodes counts none
			s.Inodes = int64(fs.Ffree)
		}
		if info, err := os.Stat(dir); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				s.Device = uint64(st.Dev)
			}
		}
		return s
	}
}
