//go:build unix

package bundle

import (
	"errors"

	"github.com/clara-push/clara-push/pkg/manifest"
	"golang.org/x/sys/unix"
)

// freeBytes is what this user may still write below dir.
func freeBytes(dir string) int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return manifest.UnknownSize
	}
	return int64(s.Bavail) * int64(s.Bsize)
}

func noSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
