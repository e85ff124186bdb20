package bundle

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// What a medium does to a writer is no defect of ours.
func TestWriteFailure(t *testing.T) {
	for cause, want := range map[error]manifest.Kind{
		syscall.ENOSPC: manifest.KindSpace, syscall.EROFS: manifest.KindPermission, fs.ErrPermission: manifest.KindPermission,
		syscall.EIO: manifest.KindIntegrity, fs.ErrNotExist: manifest.KindNotFound, errors.New("any other"): manifest.KindInternal,
	} {
		err := writeFailure("release.tar", &os.PathError{Op: "write", Path: "release.tar", Err: cause})
		var f *manifest.Failure
		if !errors.As(err, &f) || f.Kind != want || !errors.Is(err, cause) || f.Hint == "" && want != manifest.KindInternal {
			t.Errorf("%v: it says %v, a failure %+v; want %s", cause, err, f, want)
		}
	}
	if writeFailure("release.tar", nil) != nil {
		t.Error("nothing failed, and it fails")
	}
}
