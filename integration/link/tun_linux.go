package link

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// device is the name of the TUN device at each end of a path.
const device = "line0"

// openTUN makes a TUN device in the namespace, with its address, up. Reading the file gives the packets that the
// namespace sends, writing hands it packets.
func (n *Namespace) openTUN(ctx context.Context, peer string, mtu int) (*os.File, error) {
	var f *os.File
	err := n.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		req, err := unix.NewIfreq(device)
		if err == nil {
			req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("make TUN device: %w", err)
		}
		f = os.NewFile(uintptr(fd), "tun "+n.Name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		// The device must not be a second bottleneck: its own queue is longer than what the line holds.
		{"link", "set", device, "mtu", strconv.Itoa(mtu), "txqueuelen", "10000", "up"},
		{"addr", "add", n.Addr, "peer", peer, "dev", device},
	} {
		if err := ip(ctx, append([]string{"-n", n.Name}, args...)...); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}
