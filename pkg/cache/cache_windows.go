package cache

import (
	"errors"
	"os"

	"github.com/clara-push/clara-push/pkg/manifest"
	"golang.org/x/sys/windows"
)

// lock is not needed on Windows: an open file cannot be removed there.
func lock(*os.File) bool { return true }

// dead leaves the answer to removeUnlocked.
func dead(*os.File) bool { return false }

// removeUnlocked removes a file that no process has open.
func removeUnlocked(name string) { os.Remove(name) }

// Free is how many bytes this user may still write below dir; UnknownSize where nobody tells.
func Free(dir string) int64 {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return manifest.UnknownSize
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return manifest.UnknownSize
	}
	return int64(free)
}

// NoSpace reports whether err says that a disk, or what this user may have of it, is full.
func NoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
