//go:build unix

package link

import "syscall"

// shrinkBuffer limits a socket's receive buffer to 64 KiB, which the kernel doubles. Without it the link
// only feels longer.
func shrinkBuffer(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10)
}
