//go:build !windows

package sshkey

import (
	"fmt"
	"os"
	"syscall"
)

// openToOthers says why ssh would not use a private key file: it is ours and others may read it.
func openToOthers(path string) string {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return ""
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Getuid() {
		return ""
	}
	return fmt.Sprintf("others may read it (mode %04o): chmod 600 it", info.Mode().Perm())
}
