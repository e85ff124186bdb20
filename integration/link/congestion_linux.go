package link

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// HaveCongestion tells whether the kernel has the congestion control: "bbr", "cubic".
func HaveCongestion(name string) bool {
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	return err == nil && slices.Contains(strings.Fields(string(b)), name)
}

const allowedFile = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"

// setDefault makes name the default congestion control of the namespace. A namespace takes only what the machine allows
// to everybody, so that is widened for the moment of the setting.
func (n *Namespace) setDefault(name string) error {
	if !HaveCongestion(name) {
		return fmt.Errorf("this kernel has no congestion control %q", name)
	}
	err := n.sysctl("ipv4/tcp_congestion_control", name)
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	lock, err := os.Open(allowedFile) // for others who do this now
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	before, err := os.ReadFile(allowedFile)
	if err != nil {
		return err
	}
	if err := os.WriteFile(allowedFile, fmt.Appendf(nil, "%s %s", strings.TrimSpace(string(before)), name), 0o644); err != nil {
		return err
	}
	err = n.sysctl("ipv4/tcp_congestion_control", name)
	return errors.Join(err, os.WriteFile(allowedFile, before, 0o644))
}

// StartFixedCongestion starts cmd as on a kernel that has only the default congestion control: whatever the program and
// its children ask for, setsockopt(TCP_CONGESTION) answers "no such file", as it does for an unknown algorithm. The
// list of allowed algorithms would do the same, but it is the whole machine's. It needs root.
func StartFixedCongestion(cmd *exec.Cmd) error {
	done := make(chan error)
	go func() {
		// A filter belongs to the thread and what is forked from it. The thread is never unlocked, so it ends here.
		runtime.LockOSThread()
		if err := refuseCongestion(); err != nil {
			done <- fmt.Errorf("refuse congestion controls: %w", err)
			return
		}
		done <- cmd.Start()
	}()
	return <-done
}

// refuseCongestion makes the kernel answer setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION) with ENOENT on this thread.
func refuseCongestion() error {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K

		offNumber = 0      // of the system call in struct seccomp_data
		offLevel  = 16 + 8 // of its second argument: the low half, on little-endian machines
		offOption = 16 + 16

		allow  = 0x7fff0000
		refuse = 0x00050000 | uint32(unix.ENOENT)
	)
	filter := []unix.SockFilter{
		{Code: load, K: offNumber},
		{Code: equal, K: unix.SYS_SETSOCKOPT, Jf: 5},
		{Code: load, K: offLevel},
		{Code: equal, K: unix.IPPROTO_TCP, Jf: 3},
		{Code: load, K: offOption},
		{Code: equal, K: unix.TCP_CONGESTION, Jf: 1},
		{Code: ret, K: refuse},
		{Code: ret, K: allow},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
}
