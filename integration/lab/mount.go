//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// SmallFS mounts a new, empty file system of the given size on dir, making dir when needed: ext4 in a file where the
// machine has loop devices, else tmpfs. It is unmounted by Close of the lab.
func (l *Lab) SmallFS(dir string, mib int) error {
	if err := needRoot("a small file system"); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := mountImage(dir, mib); err != nil {
		l.Logf("no loop mount on %s (%v): using tmpfs", dir, err)
		if err := syscall.Mount("clara-push-lab", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=755", mib)); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
		}
	}
	l.onClose(func() error { return unmount(dir) })
	return nil
}

// mountImage mounts an ext4 image that lies beside dir. The loop device frees itself with the unmount.
func mountImage(dir string, mib int) error {
	image := dir + ".ext4"
	f, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(f.Truncate(int64(mib)<<20), f.Close())
	if err == nil {
		err = run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
	}
	if err == nil {
		err = run("mount", "-o", "loop", image, dir)
	}
	if err != nil {
		os.Remove(image)
		return err
	}
	// mkfs leaves lost+found; a data root should begin empty.
	return os.RemoveAll(dir + "/lost+found")
}

func unmount(dir string) error {
	err := syscall.Unmount(dir, 0)
	if err == syscall.EBUSY {
		err = syscall.Unmount(dir, syscall.MNT_DETACH)
	}
	if err == syscall.EINVAL || err == syscall.ENOENT { // not mounted (any more)
		return nil
	}
	return err
}

// unmountBelow unmounts everything below dir, the innermost first.
func unmountBelow(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	lines := strings.Split(string(b), "\n")
	var errs []error
	for i := len(lines) - 1; i >= 0; i-- {
		f := strings.Fields(lines[i])
		if len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			errs = append(errs, unmount(f[4]))
		}
	}
	return errors.Join(errs...)
}

// run runs a short program and puts its output into the error.
func run(argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+systemPath, "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", argv[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
