//go:build !linux

package transfer

import (
	"errors"
	"net"
)

// lossy cannot be told here.
func lossy(*net.TCPConn) bool { return false }

// useBBR is not to be had here.
func useBBR(*net.TCPConn) error { return errors.ErrUnsupported }
