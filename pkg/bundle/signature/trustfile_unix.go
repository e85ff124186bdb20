//go:build !windows

package signature

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

func machineConfig() string { return "/etc" }

// ours reports whether a file belongs to who runs this program, or to root.
func ours(path string) bool {
	info, err := os.Stat(path)
	return err != nil || ownedByUs(info)
}

func ownedByUs(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

// writableByOthers says who else could write to a file, or put another one in its place, and what to do. Pipes are nobody
// else's.
func writableByOthers(f *os.File) (why, hint string) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return "", ""
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Sprintf("others may write to it (mode %04o)", info.Mode().Perm()), "chmod go-w " + f.Name()
	}
	folder := filepath.Dir(f.Name())
	if real, err := filepath.EvalSymlinks(f.Name()); err == nil {
		folder = filepath.Dir(real)
	}
	in, err := os.Stat(folder)
	switch {
	case err != nil || in.Mode().Perm()&0o022 == 0:
		return "", ""
	case in.Mode()&os.ModeSticky != 0 && ownedByUs(info): // as in /tmp: nobody else can replace it
		return "", ""
	}
	return fmt.Sprintf("others may write to its folder %s (mode %04o)", folder, in.Mode().Perm()), "chmod go-w " + folder + ", or keep the file elsewhere"
}
