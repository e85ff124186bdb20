//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ownerFile, in a lab's folder, names the process that owns it: pid and start time, so that a reused pid does not count.
const ownerFile = "owner"

func writeOwner(dir string) error {
	start, err := startTime(os.Getpid())
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ownerFile), fmt.Appendf(nil, "%d %s %s\n", os.Getpid(), start, bootID()), 0o644)
}

// ownerAlive tells whether the process that made the lab in dir still runs. A folder without a readable owner is alive
// while it is young: it may just be in the making.
func ownerAlive(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, ownerFile))
	f := strings.Fields(string(b))
	if err != nil || len(f) != 3 {
		fi, err := os.Stat(dir)
		return err == nil && time.Since(fi.ModTime()) < time.Minute
	}
	pid, err := strconv.Atoi(f[0])
	if err != nil || f[2] != bootID() {
		return false
	}
	start, err := startTime(pid)
	return err == nil && start == f[1]
}

// sweepDead removes the labs below parent whose owner is gone.
func sweepDead(ctx context.Context, parent string, log io.Writer) error {
	dirs, err := filepath.Glob(filepath.Join(parent, prefix+"*"))
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if fi, err := os.Lstat(d); err != nil || !fi.IsDir() || !ownedByUs(fi) || ownerAlive(d) {
			continue
		}
		fmt.Fprintf(log, "lab: removing %s, left by a lab that died\n", d)
		if err := removeLab(d); err != nil {
			fmt.Fprintf(log, "lab: %v\n", err)
		}
	}
	return nil
}

func ownedByUs(fi os.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// removeLab ends what still runs of a lab, unmounts what is mounted below it, and removes the folder.
func removeLab(dir string) error {
	killMarked(dir)
	err := unmountBelow(dir)
	for range 20 {
		if e := os.RemoveAll(dir); e == nil {
			return err
		} else if !errors.Is(e, syscall.EBUSY) && !errors.Is(e, syscall.ENOTEMPTY) {
			return errors.Join(err, e)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// killMarked kills every process that carries the lab's marker, with its descendants: the container behind a shim does
// not inherit the marker. It repeats until none is left, for processes fork while we look.
func killMarked(dir string) {
	for range 50 {
		all := processes()
		var doomed []int
		for pid := range all {
			if pid != os.Getpid() && marked(pid, dir) {
				doomed = append(doomed, descendants(all, pid)...)
			}
		}
		if len(doomed) == 0 {
			return
		}
		for _, pid := range doomed {
			if pid > 1 && pid != os.Getpid() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func marked(pid int, dir string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && slices.ContainsFunc(bytes.Split(b, []byte{0}), func(v []byte) bool {
		return string(v) == marker+"="+dir
	})
}

// processes maps every pid to its parent.
func processes() map[int]int {
	all := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		f := statFields(s)
		pid, err1 := strconv.Atoi(filepath.Base(filepath.Dir(s)))
		if len(f) < 2 || err1 != nil {
			continue
		}
		if ppid, err := strconv.Atoi(f[1]); err == nil && f[0] != "Z" {
			all[pid] = ppid
		}
	}
	return all
}

// descendants returns pid and everything below it.
func descendants(all map[int]int, pid int) []int {
	found := []int{pid}
	for i := 0; i < len(found); i++ {
		for p, parent := range all {
			if parent == found[i] {
				found = append(found, p)
			}
		}
	}
	return found
}

// statFields returns the fields of /proc/PID/stat after the command's name: state, parent, ...
func statFields(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
	return strings.Fields(rest)
}

// startTime returns when the process started, in clock ticks since boot.
func startTime(pid int) (string, error) {
	f := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	if len(f) < 20 || f[0] == "Z" {
		return "", fmt.Errorf("process %d: %w", pid, os.ErrNotExist)
	}
	return f[19], nil
}

// commandLine returns the words of the process's command line, joined by blanks; empty when it is gone.
func commandLine(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}
