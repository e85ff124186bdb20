package loader

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Modes of what is placed: Triton usually runs as another user.
const (
	dirMode  = 0o755
	fileMode = 0o644
)

// builder makes the new state of one entry of a model outside the repository: a file, a version directory, or the whole
// model directory.
type builder struct {
	repo  *repository
	stage *fileStage
	plan  manifest.ModelPlan
	live  map[string]bool  // files taken over from the live tree
	uses  map[string]int   // how often a staged file is still needed, by digest
	known map[string]known // digests of the live tree
	newer time.Time        // time of what must look newest
}

// below reports whether p is the entry or lies below it.
func (b *builder) below(p string) bool {
	return b.plan.Entry == "" || p == b.plan.Entry || strings.HasPrefix(p, b.plan.Entry+"/")
}

// target is where the path p of the model lies in the new state, whose root is root.
func (b *builder) target(root, p string) string {
	return filepath.Join(root, filepath.FromSlash(strings.TrimPrefix(strings.TrimPrefix(p, b.plan.Entry), "/")))
}

// build makes the new state at root, which must not be there. It waits for files that are still on their way.
func (b *builder) build(ctx context.Context, root string) error {
	if b.plan.Place != manifest.PlaceFile {
		if err := makeDir(root); err != nil {
			return err
		}
	}
	for _, d := range b.plan.Model.Dirs {
		if b.below(d) && d != b.plan.Entry {
			if err := makeDir(b.target(root, d)); err != nil {
				return err
			}
		}
	}
	for _, f := range b.plan.Model.Files {
		if !b.below(f.Path) {
			continue
		}
		if err := b.place(ctx, f, b.target(root, f.Path)); err != nil {
			return err
		}
	}
	return b.setTimes(root)
}

func makeDir(dir string) error {
	if err := os.Mkdir(dir, dirMode); err != nil {
		return err
	}
	return os.Chmod(dir, dirMode) // whatever the umask
}

func (b *builder) place(ctx context.Context, f manifest.File, to string) error {
	if b.live[f.Path] {
		return b.takeOver(f, to)
	}
	staged, err := b.stage.await(ctx, f.Descriptor)
	if err != nil {
		return err
	}
	b.uses[string(f.Digest)]--
	if b.uses[string(f.Digest)] > 0 {
		return clone(staged, to)
	}
	if err := os.Rename(staged, to); err != nil {
		return err
	}
	return os.Chmod(to, fileMode)
}

// takeOver copies an unchanged file of the live tree. A hard link would change the live file's ctime, and newer Tritons
// then load the model again.
func (b *builder) takeOver(f manifest.File, to string) error {
	from := b.repo.live(b.plan.Model.Name, f.Path)
	info, err := os.Lstat(from)
	if err != nil || b.known[filepath.FromSlash(f.Path)].stamp != stampOf(info) || b.known[filepath.FromSlash(f.Path)].Digest != f.Digest {
		return manifest.Fail(manifest.KindStale, "build model "+b.plan.Model.Name, "the file %s changed on the host meanwhile", f.Path)
	}
	return clone(from, to)
}

// clone copies a file by reference where the file system can, else inside the kernel.
func clone(from, to string) (err error) {
	src, err := os.OpenFile(from, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if err := dst.Chmod(fileMode); err != nil {
		return err
	}
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return nil
	}
	_, err = io.Copy(dst, src) // copy_file_range where the kernel has it
	return err
}

// setTimes gives what servers before 22.12 look at a time that is newer than anything in the live tree.
func (b *builder) setTimes(root string) error {
	mark := b.target(root, timeMark(b.plan.Model))
	if !b.below(timeMark(b.plan.Model)) {
		mark = root
	}
	return os.Chtimes(mark, time.Time{}, b.newer)
}

// timeMark is the path of a model whose time tells old servers that it changed: the config, or without one the highest
// version directory.
func timeMark(m manifest.Model) string {
	for _, f := range m.Files {
		if f.Path == "config.pbtxt" {
			return f.Path
		}
	}
	mark := ""
	for _, d := range m.Dirs {
		if path.Dir(d) == "." && manifest.IsVersion(d) {
			mark = d
		}
	}
	return mark
}
