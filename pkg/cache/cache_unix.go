//go:build unix

package cache

import (
	"errors"
	"os"

	"github.com/clara-push/clara-push/pkg/manifest"
	"golang.org/x/sys/unix"
)

// lock marks f as being written by a live process, for as long as f is open.
func lock(f *os.File) bool {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// dead reports whether nobody holds f any more.
func dead(f *os.File) bool { return lock(f) }

// removeUnlocked has nothing to do where files can be locked.
func removeUnlocked(string) {}

// Free is how many bytes this user may still write below dir; UnknownSize where nobody tells.
func Free(dir string) int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return manifest.UnknownSize
	}
	return int64(s.Bavail) * int64(s.Bsize)
}

// NoSpace reports whether err says that a disk, or what this user may have of it, is full.
func NoSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
