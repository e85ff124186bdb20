package bundle

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/clara-push/clara-push/pkg/cache"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// about says which image a failure is about; nil stays nil.
func about(ref string, err error) error {
	var f *manifest.Failure
	if !errors.As(err, &f) {
		return err
	}
	g := *f
	g.Step += " of " + ref
	return &g
}

// writeFailure types an error of the file system that the bundle is written to; nil stays nil.
func writeFailure(to string, err error) error {
	var f *manifest.Failure
	step := "write " + to
	switch {
	case err == nil, errors.As(err, &f):
		return err
	case cache.NoSpace(err):
		return manifest.Fail(manifest.KindSpace, step, "%w", err).Advise("free some space there, or write the bundle elsewhere")
	case tooLarge(err):
		return manifest.Fail(manifest.KindUsage, step, "%w", err).Advise("the file system takes no file of that size; cut the bundle with --split 4GB")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return manifest.Fail(manifest.KindPermission, step, "%w", err).Advise("name a folder that this user may write to; a medium may have a switch against writing, or be mounted read-only")
	case errors.Is(err, syscall.EIO):
		return manifest.Fail(manifest.KindIntegrity, step, "%w", err).Advise("the medium may be broken, or was pulled; write the bundle to another one")
	case errors.Is(err, fs.ErrNotExist):
		return manifest.Fail(manifest.KindNotFound, step, "%w", err).Advise("make the folder first")
	}
	return manifest.Fail(manifest.KindInternal, step, "%w", err)
}
