package transfer

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// lossy asks the kernel whether c loses packets that are missed: so many that they bound its speed. On a path of next to no
// length they do not. What was sent again in vain was not lost.
func lossy(c *net.TCPConn) bool {
	const (
		share = 1e-4
		far   = 2000 // microseconds
	)
	var yes bool
	_ = control(c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && info.Total_retrans > info.Dsack_dups && info.Min_rtt >= far {
			yes = float64(info.Total_retrans-info.Dsack_dups) > share*float64(info.Segs_out)
		}
		return err
	})
	return yes
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
