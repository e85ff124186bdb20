package bundle

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/clara-push/clara-push/pkg/cache"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// An output is a bundle on its way. It grows in a hidden folder beside its final name, on the same file system, and gets
// that name by a rename. The folder is locked while its writer lives; what a killed one left goes with the next.
type output struct {
	to, work string // final path, and folder beside it
	lock     *os.File
	store    store
	medium   medium
}

// A store is the form that a bundle has on the file system.
type store interface {
	// put writes the file name of the bundle, with the bytes of d, which fill writes.
	put(name string, d manifest.Descriptor, fill func(io.Writer) error) error
	// close ends the last file. Everything is on the disk afterwards.
	close() error
	// made tells what was written, to be read back.
	made() []made
	// publish gives the files their final names, and returns those and their size in bytes.
	publish() ([]string, int64, error)
}

// made is a file that was written.
type made struct {
	path   string // where it lies now
	size   int64
	digest manifest.Digest
}

// meansFolder reports whether a path as the user wrote it means a folder.
func meansFolder(to string) bool {
	if strings.HasSuffix(to, "/") || strings.HasSuffix(to, string(filepath.Separator)) {
		return true
	}
	info, err := os.Stat(to)
	return err == nil && info.IsDir()
}

// create prepares the place for r: everything that can be known to fail fails now.
func create(to string, o WriteOptions, r *release) (*output, error) {
	to, err := filepath.Abs(to)
	if err != nil {
		return nil, writeFailure(to, err)
	}
	if err := replaceable(to, o); err != nil {
		return nil, err
	}
	out := &output{to: to, work: filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+".clara-push-tmp"), medium: mediumOf(filepath.Dir(to))}
	if err := out.fits(o, r); err != nil {
		return nil, err
	}
	if err := out.begin(); err != nil {
		return nil, writeFailure(to, err)
	}
	hashed := o.Split > 0 || o.verifies(out.medium)
	if o.Folder {
		out.store = newFolderStore(out)
		return out, nil
	}
	out.store = newTarStore(out, o, hashed, r)
	return out, nil
}

// verifies reports whether a bundle on m is to be read back.
func (o WriteOptions) verifies(m medium) bool {
	return o.Verify == VerifyAlways || (o.Verify == VerifyRemovable && m.removable)
}

// replaceable makes sure that what bears the name may go.
func replaceable(to string, o WriteOptions) error {
	info, err := os.Lstat(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return writeFailure(to, err)
	case o.Folder && info.IsDir():
		return replaceableFolder(to)
	case !o.Folder && info.Mode().IsRegular():
		return nil
	}
	return manifest.Fail(manifest.KindUsage, "write "+to, "that is neither a file nor a folder that could be replaced").Advise("name another one with -o")
}

// fits makes sure that there is room, and that the file system takes files of that size.
func (out *output) fits(o WriteOptions, r *release) error {
	dir := filepath.Dir(out.to)
	need, largest := r.tarSize(), r.tarSize()
	switch {
	case o.Folder:
		largest = r.largest()
	case o.Split > 0:
		largest = min(o.Split, largest)
		if _, err := countParts(need, o.Split); err != nil {
			return err
		}
	}
	if out.medium.fat && largest > maxFATFile {
		return tooLargeForFAT(out.to, largest, o)
	}
	if free := cache.Free(dir); free != manifest.UnknownSize && free < need {
		return manifest.Fail(manifest.KindSpace, "write "+out.to, "the bundle needs %s, %s are free in %s", manifest.FormatBytes(need), manifest.FormatBytes(free), dir).
			Advise("free some space there, or write the bundle elsewhere")
	}
	return nil
}

// maxFATFile is the most bytes that a file may have on FAT.
const maxFATFile = 1<<32 - 1

func tooLargeForFAT(to string, size int64, o WriteOptions) error {
	f := manifest.Fail(manifest.KindUsage, "write "+to, "a file of it would have %s, but that is a FAT file system, which takes files of less than 4 GiB", manifest.FormatBytes(size))
	if o.Folder {
		return f.Advise("write a tar and cut it with --split 4GB, or format the medium as exFAT")
	}
	return f.Advise("cut the bundle with --split 4GB, or format the medium as exFAT")
}

// begin makes the folder beside and takes its lock.
func (out *output) begin() error {
	if err := out.sweep(); err != nil {
		return err
	}
	if err := os.Mkdir(out.work, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(out.work, "lock"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if !hold(f) {
		f.Close()
		return held(out.to)
	}
	out.lock = f
	return nil
}

// sweep removes what a writer left that is gone.
func (out *output) sweep() error {
	if _, err := os.Lstat(out.work); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(out.work, "lock"), os.O_RDWR, 0)
	if err == nil {
		defer f.Close()
		if !hold(f) {
			return held(out.to)
		}
	}
	return os.RemoveAll(out.work)
}

func held(to string) error {
	return manifest.Fail(manifest.KindLocked, "write "+to, "another clara-push is writing a bundle of that name").Advise("wait until it is done, or name another file")
}

// discard removes what did not get its final name. It may be called after publish, and twice.
func (out *output) discard() {
	if out.lock == nil {
		return
	}
	_ = out.store.close() // what it would say was said, or matters no more
	os.RemoveAll(out.work)
	out.lock.Close()
	out.lock = nil
}

// check sees that everything reached the medium, and reads it back where that is wanted. It reports whether it did.
func (out *output) check(ctx context.Context, o WriteOptions) (bool, error) {
	if err := out.store.close(); err != nil {
		return false, writeFailure(out.to, err)
	}
	if !o.verifies(out.medium) {
		return false, nil
	}
	all := out.store.made()
	p := &progress{events: o.Events, step: manifest.StepVerify}
	for _, m := range all {
		p.total += m.size
	}
	for _, m := range all {
		if err := out.readBack(ctx, m, p); err != nil {
			return false, err
		}
	}
	return true, nil
}

// readBack reads a file from the medium, not from memory, and compares.
func (out *output) readBack(ctx context.Context, m made, p *progress) error {
	f, err := os.Open(m.path)
	if err != nil {
		return writeFailure(out.to, err)
	}
	defer f.Close()
	forget(f)
	got, err := hashAll(ctx, f, make([]byte, readBuffer), p.tell)
	if err != nil {
		return err
	}
	if got != m.digest {
		return manifest.Fail(manifest.KindIntegrity, "read back "+out.to, "the medium gives other bytes than were written to it (%s, not %s)", got, m.digest).
			Advise("use another medium; this one loses data")
	}
	return nil
}

// publish gives the bundle its name.
func (out *output) publish() ([]string, int64, error) {
	paths, size, err := out.store.publish()
	if err != nil {
		return nil, 0, writeFailure(out.to, err)
	}
	return paths, size, writeFailure(out.to, syncFolder(filepath.Dir(out.to)))
}

// progress tells how far a step is.
type progress struct {
	events      manifest.Events
	step        manifest.Step
	done, total int64
}

func (p *progress) tell(n int64) {
	p.done += n
	p.events.Progress(p.step, p.done, p.total)
}
