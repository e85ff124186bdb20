package transfer

import (
	"context"
	"errors"
	"net"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// DialHost connects to addr as seen from the host: "127.0.0.1:8000" is the host's own loopback. The bytes go through the
// connection to the host. It may be called from several goroutines. It does not connect to the host again: a lost
// connection is a KindConnect failure. One that the host's sshd forbids is a KindPermission failure; any other error is the
// network's.
func (s *SSH) DialHost(ctx context.Context, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	first, lost := s.first, s.lost
	s.mu.Unlock()
	if lost || first == nil || first.Err() != nil {
		return nil, manifest.On(s.host, manifest.Fail(manifest.KindConnect, "reach "+addr, "the connection to the host is lost"))
	}
	conn, err := first.Client().DialContext(ctx, network, addr)
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) && refused.Reason == ssh.Prohibited {
		return nil, manifest.On(s.host, manifest.Fail(manifest.KindPermission, "reach "+addr, "sshd on the host forbids forwarding").
			Advise("allow it (AllowTcpForwarding local in sshd_config there), or give an address that can be reached from here"))
	}
	return conn, err
}
