//go:build linux

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
// model directory. First everything that the host has is copied and small files are written out, while files arrive; large
// ones are moved in when all are there, so that a push that is cut off finds them again.
type builder struct {
	repo  *repository
	stage *fileStage
	plan  manifest.ModelPlan
	live  manifest.HostModel
	known map[string]known // digests of the live tree
	root  string           // of the new state
	newer time.Time        // time of what must look newest
}

// target is where the path p of the model lies in the new state.
func (b *builder) target(p string) string {
	return filepath.Join(b.root, filepath.FromSlash(strings.TrimPrefix(strings.TrimPrefix(p, b.plan.Entry), "/")))
}

// frame makes the directories.
func (b *builder) frame() error {
	if b.plan.Gone || b.plan.Place == manifest.PlaceFile {
		return nil
	}
	if err := makeDir(b.root); err != nil {
		return err
	}
	for _, d := range b.plan.Model.Dirs {
		if b.plan.Below(d) && d != b.plan.Entry {
			if err := makeDir(b.target(d)); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyLive copies the files that the live tree has.
func (b *builder) copyLive(ctx context.Context) error {
	if b.plan.Gone {
		return nil
	}
	for _, f := range b.plan.Copied() {
		if err := b.takeOver(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func makeDir(dir string) error {
	if err := os.Mkdir(dir, dirMode); err != nil {
		return err
	}
	return os.Chmod(dir, dirMode) // whatever the umask
}

// takeOver copies an unchanged file of the live tree. A hard link would change the live file's ctime, and newer Tritons
// then load the model again.
func (b *builder) takeOver(ctx context.Context, f manifest.File) error {
	from, to := b.repo.live(b.plan.Model.Name, f.Path), b.target(f.Path)
	k, remembered := b.known[filepath.FromSlash(f.Path)]
	unchanged := func() bool {
		info, err := os.Lstat(from)
		return err == nil && k.stamp == stampOf(info) && k.Digest == f.Digest
	}
	if remembered && !unchanged() {
		return b.changed(f.Path)
	}
	if err := clone(ctx, from, to); err != nil {
		return err
	}
	if !remembered { // too young, or its time lies ahead: then the copy itself tells
		is, err := hashed(ctx, to)
		if err == nil && is != f.Digest {
			err = b.changed(f.Path)
		}
		return err
	}
	if !unchanged() {
		return b.changed(f.Path)
	}
	return nil
}

func (b *builder) changed(path string) error {
	return manifest.Fail(manifest.KindStale, "build model "+b.plan.Model.Name, "the file %s changed on the host meanwhile", path)
}

// small lists where the small files that are sent go, by their digests.
func small(builders []*builder) map[manifest.Digest][]string {
	paths := map[manifest.Digest][]string{}
	for _, b := range builders {
		if b == nil || b.plan.Gone {
			continue
		}
		for _, f := range b.plan.Sent() {
			if f.Size <= manifest.SmallFile {
				paths[f.Digest] = append(paths[f.Digest], b.target(f.Path))
			}
		}
	}
	return paths
}

// fill moves the large files from the stage into the new state. Uses counts how often each is still needed: the last use
// moves it.
func (b *builder) fill(ctx context.Context, uses map[manifest.Digest]int) error {
	if b.plan.Gone {
		return nil
	}
	for _, f := range b.plan.Sent() {
		if f.Size <= manifest.SmallFile {
			continue
		}
		uses[f.Digest]--
		var err error
		if uses[f.Digest] > 0 {
			err = clone(ctx, b.stage.at(f.Digest), b.target(f.Path))
		} else {
			err = os.Rename(b.stage.at(f.Digest), b.target(f.Path))
		}
		if errors.Is(err, os.ErrNotExist) {
			return manifest.Fail(manifest.KindStale, "build model "+b.plan.Model.Name, "the file %s went away from the stage", f.Path)
		}
		if err != nil {
			return err
		}
	}
	return b.setTimes()
}

// clone copies a file by reference where the file system can, else inside the kernel.
func clone(ctx context.Context, from, to string) (err error) {
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
	const stretch = 64 << 20 // between two looks whether anybody still waits
	for {
		n, err := io.CopyN(dst, src, stretch) // copy_file_range where the kernel has it
		if err == io.EOF || (err == nil && n < stretch) {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
}

// setTimes gives what servers before 22.12 look at a time that is newer than anything in the live tree. It is set before
// the step, which so shows everything at once: touching the live tree afterwards would make newer servers load twice.
func (b *builder) setTimes() error {
	mark := b.root
	if b.plan.Entry == "" {
		mark = b.target(timeMark(b.plan.Model.Files, b.plan.Model.Dirs))
	}
	return os.Chtimes(mark, b.newer, b.newer)
}

// timeMark is the path in a tree whose time tells old servers that it changed: the config, or without one the highest
// version directory; the model directory itself, "", when there is neither.
func timeMark(files []manifest.File, dirs []string) string {
	for _, f := range files {
		if f.Path == "config.pbtxt" {
			return f.Path
		}
	}
	mark := ""
	for _, d := range dirs {
		if path.Dir(d) == "." && manifest.IsVersion(d) && (len(d) > len(mark) || (len(d) == len(mark) && d > mark)) {
			mark = d
		}
	}
	return mark
}
