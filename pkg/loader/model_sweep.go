//go:build linux

package loader

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// sweepable is how old a file is that may go although a push is under way.
const sweepable = time.Hour

// sweep removes the files that no push has to do with and that nobody touched for age.
func (s *fileStage) sweep(age time.Duration) (manifest.Swept, error) {
	var swept manifest.Swept
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return swept, fileFailure("sweep", err)
	}
	if all, err := lockFolder(s.dir, syscall.LOCK_EX); err == nil {
		defer all.Close()
	} else {
		age = max(age, sweepable)
	}
	for _, e := range entries {
		info, err := e.Info()
		path := filepath.Join(s.dir, e.Name())
		if file, isList := strings.CutSuffix(path, ".done"); isList {
			if !exists(file) && free(path) {
				_ = os.Remove(path) // of a file that was moved into a tree
			}
			continue
		}
		if err != nil {
			continue
		}
		if time.Since(info.ModTime()) < age || !free(path+".done") {
			swept.Held++
			continue
		}
		if err := errors.Join(os.Remove(path), gone(os.Remove(path+".done"))); err != nil {
			return swept, fileFailure("sweep", err)
		}
		swept.Blobs++
		swept.Bytes += info.Size()
	}
	return swept, nil
}

// free reports whether no process holds a lock on the file at path.
func free(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return true
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
