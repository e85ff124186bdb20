package bundle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// medium is what a bundle is written to.
type medium struct {
	fat       bool // takes no files of 4 GiB
	removable bool // may be pulled out
}

// mediumOf looks at the file system that dir is on. What cannot be learned is not so.
func mediumOf(dir string) medium {
	var m medium
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) == nil {
		m.fat = fs.Type == unix.MSDOS_SUPER_MAGIC
	}
	var s unix.Stat_t
	if unix.Stat(dir, &s) == nil {
		m.removable = isRemovable("/sys", uint64(s.Dev))
	}
	return m
}

// isRemovable asks the kernel's device tree below sys about a block device: a partition, or what lies over one, such as an
// encrypted volume. A disk on USB counts, whether the drive calls its medium removable or not.
func isRemovable(sys string, dev uint64) bool {
	at, err := filepath.EvalSymlinks(filepath.Join(sys, "dev", "block", fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))))
	if err != nil {
		return false
	}
	return removableAt(at, 0)
}

func removableAt(at string, depth int) bool {
	if depth > 8 {
		return false
	}
	for _, dir := range []string{at, filepath.Dir(at)} { // of a partition, its disk says it
		if raw, err := os.ReadFile(filepath.Join(dir, "removable")); err == nil && strings.TrimSpace(string(raw)) == "1" {
			return true
		}
	}
	if strings.Contains(at, "/usb") {
		return true
	}
	below, _ := filepath.Glob(filepath.Join(at, "slaves", "*"))
	for _, b := range below {
		if real, err := filepath.EvalSymlinks(b); err == nil && removableAt(real, depth+1) {
			return true
		}
	}
	return false
}

// forget drops what memory holds of f, whose bytes are on the disk, so that it is read from there.
func forget(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// syncFiles sees that everything below root is on the disk. One call does it for the whole file system, where a bundle may
// have forty thousand files.
func syncFiles(root string, _ []string) error {
	f, err := os.Open(root)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// syncFolder sees that the names in dir are on the disk. Some file systems cannot do that for folders.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

// exchange swaps two names in one step, where the file system can.
func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
