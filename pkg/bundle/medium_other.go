//go:build !linux

package bundle

import (
	"errors"
	"os"
)

// medium is what a bundle is written to.
type medium struct{ fat, removable bool }

// mediumOf knows nothing of other systems' devices; --verify-write asks for what follows from it.
func mediumOf(string) medium { return medium{} }

// forget can do nothing here.
func forget(*os.File) {}

// syncFiles sees that the files are on the disk.
func syncFiles(_ string, paths []string) error {
	for _, p := range paths {
		f, err := os.OpenFile(p, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = f.Sync()
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// syncFolder has no counterpart on every system.
func syncFolder(string) error { return nil }

func exchange(string, string) error { return errors.ErrUnsupported }
