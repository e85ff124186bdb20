//go:build linux

package loader

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// clearLeftovers removes what processes that were killed have left and no other step clears: files that were on their way to
// their names, and folders in which an exchange was tried. All of that lives for moments only.
func (h *Host) clearLeftovers() error {
	patterns := []string{filepath.Join(h.dir, "*", "tmp-*")}
	if h.models.usable() == nil {
		patterns = append(patterns, filepath.Join(h.models.repo.own, "try-*"), filepath.Join(h.models.repo.own, "digests", ".*"))
	}
	var errs []error
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		errs = append(errs, err)
		for _, path := range found {
			if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > sweepable {
				errs = append(errs, gone(os.Remove(path)))
			}
		}
	}
	return errors.Join(errs...)
}
