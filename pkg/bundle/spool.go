package bundle

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/clara-push/clara-push/pkg/cache"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// spare is how many bytes Spool leaves free.
const spare = 64 << 20

// Spool reads the tar of a bundle from r, once and from front to end, and keeps its files in a folder of its own below dir,
// which nobody else may enter and which Close removes. It keeps no blob that neither index.json nor a manifest before it names; so
// the documents must come first, as document.go has it. Every blob is hashed while it is written, so the first damaged one ends
// it; no name in the tar becomes a path but by way of its digest. It fails as Open does, and with KindSpace before it writes a
// blob for which dir has no room. It ends with ctx at once; a Read of r that hangs is left behind then.
func Spool(ctx context.Context, r io.Reader, dir string, o OpenOptions) (*Bundle, error) {
	s, err := newSpool(dir)
	if err != nil {
		return nil, inBundle(err, stream)
	}
	o.Events.Say(manifest.StepSpool, "", "the bundle is kept in "+s.dir+" while it is read")
	b, err := s.take(ctx, r, o)
	if err != nil {
		_ = s.Close() // what went wrong before is what counts
		return nil, inBundle(err, stream)
	}
	return b, nil
}

// stream is how a bundle is called that has no name.
const stream = "from a stream"

// spool is a folder that goes when it is closed.
type spool struct {
	*folder
	dir  string
	lock *os.File // held while the spool lives, so that what a killed process left can be told
}

// spoolPrefix is what the names of spools begin with, spoolLock the file in them that is locked.
const (
	spoolPrefix = "clara-push-bundle-"
	spoolLock   = "lock"
)

func newSpool(dir string) (*spool, error) {
	sweepSpools(dir)
	s := &spool{folder: &folder{sizes: map[key]int64{}}}
	var err error
	if s.dir, err = os.MkdirTemp(dir, spoolPrefix+"*"); err != nil { // for this user alone
		return nil, s.failure(err)
	}
	if s.root, err = os.OpenRoot(s.dir); err == nil {
		if s.lock, err = s.root.OpenFile(spoolLock, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			hold(s.lock)
			err = s.root.MkdirAll(path.Clean(blobFolder), 0o700)
		}
	}
	if err != nil {
		_ = os.RemoveAll(s.dir)
		return nil, s.failure(err)
	}
	return s, nil
}

// sweepSpools removes what killed processes left in dir. What cannot be removed stays: it is in nobody's way but the disk's.
func sweepSpools(dir string) {
	locks, _ := filepath.Glob(filepath.Join(dir, spoolPrefix+"*", spoolLock))
	for _, l := range locks {
		f, err := os.OpenFile(l, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		info, err := f.Stat()
		if err == nil && time.Since(info.ModTime()) > time.Minute && hold(f) { // a young one may not be locked yet
			_ = os.RemoveAll(filepath.Dir(l))
		}
		f.Close()
	}
}

// failure is what the file system of the spool says.
func (s *spool) failure(err error) error {
	switch {
	case cache.NoSpace(err):
		return manifest.Fail(manifest.KindSpace, stepRead, "%w", err).Advise("free some space there")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
		return manifest.Fail(manifest.KindPermission, stepRead, "%w", err)
	}
	return manifest.Fail(manifest.KindInternal, stepRead, "%w", err)
}

// Close removes the folder. It may be called twice.
func (s *spool) Close() error {
	s.lock.Close() // first, for some systems do not remove what is open
	return errors.Join(s.folder.Close(), os.RemoveAll(s.dir))
}
