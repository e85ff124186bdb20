//go:build !linux

package transfer

import (
	"errors"
	"net"
)

// losses cannot be read here.
func losses(*net.TCPConn) (lost, sent uint32) { return 0, 0 }

// useBBR is not to be had here.
func useBBR(*net.TCPConn) error { return errors.ErrUnsupported }
