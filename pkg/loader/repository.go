//go:build linux

package loader

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A repository is a folder of models that Triton serves, and beside it, never in it, what clara-push needs: Triton takes
// every folder in the repository for a model, but looks at nothing outside it. All of it is one file system, so that
// entries change places in single steps. Everything lies in <parent>/.clara-push/<name of the repository>:
//
//	files/<hex>            a file on its way; of a large one <hex>.done lists the chunks that are there
//	trees/<model>          what will be exchanged with the live entry, and right after that the replaced one
//	old/<model>/<receipt>  replaced entries that are kept for a rollback
//	journal/<model>.json   a step that is under way
//	digests/<model>.json   what the files of the live model hashed to, by size, times and inode
type repository struct {
	path     string // as it was named
	real     string // without symbolic links
	own      string // …/.clara-push/<name>
	exchange bool   // the file system can exchange two entries in one step
}

// stageName is the folder beside a repository. Triton would take one below it for a model.
const stageName = ".clara-push"

var ownFolders = []string{"files", "trees", "old", "journal", "digests"}

// openRepository finds the repository at path and makes sure that models can be placed there. Failures are KindPermission,
// with the commands that mend it.
func openRepository(path string) (*repository, error) {
	r := &repository{path: path}
	if !filepath.IsAbs(path) {
		return r, refuseRepository("%q is not an absolute path", path)
	}
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, os.ErrNotExist) {
		return r, refuseRepository("the folder %s is not there", path).
			Advise("make it once: %s", commands("sudo install -d -m 0755 -o "+runningAs()+" "+quoted(path), prepareStage(path)))
	}
	if err != nil {
		return r, refuseRepository("%s cannot be reached: %w", path, err).Advise("name another folder with --repository")
	}
	r.real = real
	if err := r.checkFolder(real); err != nil {
		return r, err
	}
	parent := filepath.Join(filepath.Dir(real), stageName)
	r.own = filepath.Join(parent, filepath.Base(real))
	if err := r.makeOwn(parent); err != nil {
		return r, err
	}
	r.exchange = canExchange(r.own)
	return r, nil
}

func refuseRepository(format string, args ...any) *manifest.Failure {
	return manifest.Fail(manifest.KindPermission, "open repository", format, args...)
}

// id is what receipts call the repository: one name, however it was written and by which links it is reached.
func (r *repository) id() string { return cmp.Or(r.real, filepath.Clean(r.path)) }

// checkFolder makes sure that dir is a directory in which this user may rename entries.
func (r *repository) checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return refuseRepository("%w", err)
	}
	if !info.IsDir() {
		return refuseRepository("%s is not a directory", dir).Advise("name the folder that Triton serves models from with --repository")
	}
	if exists(filepath.Join(dir, "config.pbtxt")) { // and our stage would lie in the repository around it, a model to Triton
		return refuseRepository("%s is a model, not a folder of models", dir).Advise("name the folder around it: --repository %s", quoted(filepath.Dir(dir)))
	}
	err = unix.Access(dir, unix.W_OK|unix.X_OK)
	if errors.Is(err, unix.EROFS) {
		return refuseRepository("%s is mounted read-only", dir).Advise("mount it writable, or name another folder with --repository")
	}
	if err != nil {
		return refuseRepository("%s may not write to %s: %w", runningAs(), dir, err).
			Advise(manifest.AsRoot+", or give the user the right once: %s", commands("sudo chown "+runningAs()+" "+quoted(dir), prepareStage(dir)))
	}
	return movable(dir, filepath.Dir(dir))
}

// movable makes sure that what lies in dir can be moved into the repository at real in one step.
func movable(real, dir string) error {
	if !apart(real, dir) {
		return nil
	}
	return refuseRepository("%s is a file system of its own, so nothing beside it can be moved into it in one step", real).
		Advise("name a folder inside that file system as repository, for example --repository %s, and let Triton serve that", quoted(filepath.Join(real, "models")))
}

// apart reports whether nothing can be renamed from one directory to the other: they belong to different mounts, which may well be of
// one file system (the kernel looks at that before it finds that "." cannot be renamed), or to different devices of one mount,
// such as subvolumes.
func apart(a, b string) bool {
	return errors.Is(unix.Rename(a+"/.", b+"/."), unix.EXDEV) || deviceOf(a) != deviceOf(b)
}

// deviceOf names the file system of path; 0 where that cannot be told.
func deviceOf(path string) uint64 {
	var s syscall.Stat_t
	if syscall.Stat(path, &s) != nil {
		return 0
	}
	return uint64(s.Dev)
}

// checkModel says why this user may not replace the tree of a model, and what to do; empty when it may. Moving a folder to
// another one takes the right to write to it, and so does removing what it holds once it is no longer kept.
func (r *repository) checkModel(h manifest.HostModel) (refusal, advice string) {
	if h.Found != manifest.FoundDirectory {
		return "", ""
	}
	for _, d := range append([]string{""}, h.Dirs...) {
		if (d == "" || manifest.IsVersion(d)) && apart(r.real, r.live(h.Name, d)) {
			return r.live(h.Name, d) + " is a file system of its own, which nothing can take the place of in one step",
				"unmount it on the host; put what is mounted there elsewhere in the repository's own file system"
		}
		if err := unix.Access(r.live(h.Name, d), unix.W_OK|unix.X_OK); err != nil {
			return fmt.Sprintf("%s may not change %s: %v", runningAs(), r.live(h.Name, d), err),
				fmt.Sprintf(manifest.AsRoot+", or give the user the right once: sudo chown -R %s %s", runningAs(), quoted(r.live(h.Name, "")))
		}
	}
	return "", ""
}

// makeOwn makes the folders beside the repository, for this user alone, on the same file system.
func (r *repository) makeOwn(parent string) error {
	dirs := []string{parent, r.own}
	for _, name := range ownFolders {
		dirs = append(dirs, filepath.Join(r.own, name))
	}
	for _, dir := range dirs {
		if err := ownFolder(dir); err != nil {
			return refuseRepository("the stage beside the repository cannot be used: %w", err).Advise("%s", mendStage(dir))
		}
	}
	return movable(r.real, r.own)
}

// ownFolder makes dir for this user alone, or makes sure that it is: no link, nobody else's, writable by nobody else.
func ownFolder(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	var st syscall.Stat_t
	if err := syscall.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	switch {
	case st.Mode&syscall.S_IFMT != syscall.S_IFDIR:
		return fmt.Errorf("%s is not a directory", dir)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, not to this user", dir, st.Uid)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("%s can be written by others", dir)
	}
	return nil
}

// noExchange, when set in the environment, makes clara-push do as if the file system could not exchange entries: for
// tests, and for file systems that claim more than they keep.
const noExchange = "CLARA_PUSH_NO_EXCHANGE"

// canExchange tries in dir whether two entries can change places in one step.
func canExchange(dir string) bool {
	if os.Getenv(noExchange) != "" {
		return false
	}
	a, errA := os.MkdirTemp(dir, "try-")
	b, errB := os.MkdirTemp(dir, "try-")
	defer os.Remove(a)
	defer os.Remove(b)
	return errA == nil && errB == nil && swap(a, b) == nil
}

// swap exchanges two entries in one step.
func swap(a, b string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}

// moveNew renames from to to, which must not be there.
func moveNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system without flags
		if _, e := os.Lstat(to); e == nil {
			err = unix.EEXIST
		} else {
			err = os.Rename(from, to)
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// sync makes everything on the repository's file system durable.
func (r *repository) sync() error {
	f, err := os.Open(r.own)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// entries lists the names in the repository that can be a model's.
func (r *repository) entries() ([]string, error) {
	all, err := os.ReadDir(r.real)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range all {
		if manifest.CheckModelName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// live is the path of an entry of a model; of the model directory itself for an empty entry.
func (r *repository) live(model, entry string) string {
	return filepath.Join(r.real, model, filepath.FromSlash(entry))
}

func (r *repository) tree(model string) string { return filepath.Join(r.own, "trees", model) }
