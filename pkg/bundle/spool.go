package bundle

import (
	"bufio"
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
	"github.com/opencontainers/go-digest"
)

// spare is how many bytes Spool leaves free.
const spare = 64 << 20

// Spool reads the tar of a bundle from r, once and from front to end, and keeps its files in a folder of its own below dir,
// which nobody else may enter and which Close removes. Every blob is hashed while it is written, so the first damaged one ends
// it; no name in the tar becomes a path but by way of its digest. It fails as Open does, and with KindSpace before it writes a
// blob for which dir has no room. It ends with ctx at once; a Read of r that hangs is left behind then.
func Spool(ctx context.Context, r io.Reader, dir string, o OpenOptions) (*Bundle, error) {
	s, err := newSpool(dir)
	if err != nil {
		return nil, inBundle(err, stream)
	}
	o.Events.Say(manifest.StepSpool, "", "the bundle is kept in "+s.dir+" while it is read")
	b, err := s.take(ctx, r, o.Events)
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

// take reads the tar to its end, and then what it is.
func (s *spool) take(ctx context.Context, r io.Reader, ev manifest.Events) (*Bundle, error) {
	buf := make([]byte, readBuffer)
	t := &teller{ev: ev, last: time.Now()}
	in := newInput(ctx, r)
	defer in.close()
	w := &tarWalk{in: flow{bufio.NewReaderSize(in, readBuffer)}}
	err := w.walk(ctx, func(name string, size, _ int64, content io.Reader) error {
		d, isBlob := blobDigest(name)
		if !isBlob {
			return s.keepDocument(ctx, name, size, content, buf)
		}
		t.from = content
		return s.keepBlob(ctx, d, size, t, buf)
	})
	switch {
	case ctx.Err() != nil:
		return nil, stopped(ctx) // whatever that looked like from the stream
	case err != nil:
		return nil, err
	}
	return read(ctx, s, FormStream, stream)
}

// limits are how large the files may be that are no blobs.
var limits = map[string]int64{layoutFile: maxLayout, indexFile: maxIndex, signatureFile: maxSignature, dockerFile: maxDocument}

func (s *spool) keepDocument(ctx context.Context, name string, size int64, content io.Reader, buf []byte) error {
	if size > limits[name] {
		return malformed("%s has %s, at most %s are allowed", name, manifest.FormatBytes(size), manifest.FormatBytes(limits[name]))
	}
	_, err := s.keep(ctx, name, size, content, buf)
	if err != nil || name != indexFile {
		return err
	}
	raw, err := document(s, name, maxIndex)
	if err == nil {
		_, err = parseIndex(raw) // what is no bundle need not be read to its end
	}
	return err
}

// keepBlob writes a blob, which must be the one of its name.
func (s *spool) keepBlob(ctx context.Context, d manifest.Digest, size int64, content io.Reader, buf []byte) error {
	if free := cache.Free(s.dir); free != manifest.UnknownSize && free-spare < size {
		return manifest.Fail(manifest.KindSpace, stepRead, "the next %s of the bundle have no room in %s, where %s are free", manifest.FormatBytes(size),
			s.dir, manifest.FormatBytes(free)).Advise("free some space there, or copy the bundle to a file and load that, which needs no room for a copy")
	}
	got, err := s.keep(ctx, blobPath(d), size, content, buf)
	if err != nil {
		return err
	}
	if got != d {
		return damaged("%s is damaged: its bytes have the digest %s", d, got)
	}
	s.sizes[keyOf(d)] = size
	return nil
}

// keep writes a new file of size bytes and hashes it.
func (s *spool) keep(ctx context.Context, name string, size int64, content io.Reader, buf []byte) (manifest.Digest, error) {
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", s.failure(err)
	}
	defer f.Close()
	h := digest.SHA256.Digester()
	for left := size; left > 0; {
		if ctx.Err() != nil {
			return "", stopped(ctx)
		}
		n, err := content.Read(buf[:min(left, int64(len(buf)))])
		left -= int64(n)
		_, _ = h.Hash().Write(buf[:n]) // never fails
		if _, err := f.Write(buf[:n]); err != nil {
			return "", s.failure(err)
		}
		switch {
		case errors.Is(err, io.EOF) && left > 0:
			return "", cut("%s has %d bytes, of which %d have come", name, size, size-left)
		case err != nil && !errors.Is(err, io.EOF):
			return "", unreadable(err)
		}
	}
	if err := f.Close(); err != nil {
		return "", s.failure(err)
	}
	return h.Digest(), nil
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

// flow is a stretch that comes as it is read and cannot be jumped in.
type flow struct{ *bufio.Reader }

func (f flow) skip(n int64) error {
	_, err := io.CopyN(io.Discard, f, n)
	return err
}

func (f flow) left() int64 { return manifest.UnknownSize }

// tellEvery is how often a spool tells how much it has. How much there will be only the end of the stream tells.
const tellEvery = 5 * time.Second

// teller is a reader that tells now and then how much was read.
type teller struct {
	from io.Reader
	ev   manifest.Events
	n    int64
	last time.Time
}

func (t *teller) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	t.n += int64(n)
	if now := time.Now(); now.Sub(t.last) >= tellEvery {
		t.last = now
		t.ev.Say(manifest.StepSpool, "", manifest.FormatBytes(t.n)+" have come")
	}
	return n, err
}
