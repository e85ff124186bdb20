package transfer

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// losses reads from the kernel how many segments of c were sent again, and how many were sent.
func losses(c *net.TCPConn) (lost, sent uint32) {
	_ = control(c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			lost, sent = info.Total_retrans, info.Segs_out
		}
		return err
	})
	return lost, sent
}

// useBBR changes c's congestion control.
func useBBR(c *net.TCPConn) error {
	return control(c, func(fd int) error {
		return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "bbr")
	})
}

var errNoTCP = errors.New("the connection is not our own TCP socket")

func control(c *net.TCPConn, f func(fd int) error) error {
	if c == nil {
		return errNoTCP
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
