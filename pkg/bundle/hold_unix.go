//go:build unix

package bundle

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// hold takes the lock on f for as long as it is open; false when another process has it. Where files cannot be locked,
// nobody has.
func hold(f *os.File) bool {
	return !errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

func tooLarge(err error) bool { return errors.Is(err, unix.EFBIG) }
