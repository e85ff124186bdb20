package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const (
	agentAnswers = 10 * time.Second // for the list of keys
	agentSigns   = 2 * time.Minute  // for a signature: a person may have to confirm it or to touch a token
)

// An agentConn is a connection to ssh-agent for one login.
type agentConn struct {
	conn   net.Conn
	client agent.ExtendedAgent
	keys   []ssh.PublicKey
	names  []string
}

// openAgent returns nil when there is no agent. An agent that does not answer is a warning: keys in files may do.
func openAgent(ctx context.Context, address string, warn func(string)) *agentConn {
	if address == "none" {
		return nil
	}
	named := address != ""
	if !named {
		address = os.Getenv("SSH_AUTH_SOCK")
	}
	if address == "" {
		if address = defaultAgent; address == "" {
			return nil
		}
	}
	conn, err := dialAgent(ctx, address)
	if err != nil {
		if named || !errors.Is(err, os.ErrNotExist) {
			warn("ssh-agent cannot be asked: " + err.Error())
		}
		return nil
	}
	a := &agentConn{conn: conn, client: agent.NewClient(conn)}
	if err := a.list(); err != nil {
		warn("ssh-agent does not tell its keys: " + err.Error())
		conn.Close()
		return nil
	}
	return a
}

func (a *agentConn) list() error {
	_ = a.conn.SetDeadline(time.Now().Add(agentAnswers))
	keys, err := a.client.List()
	if err != nil {
		return err
	}
	for _, k := range keys {
		public, err := ssh.ParsePublicKey(k.Blob)
		if err != nil {
			continue // a kind of key that x/crypto does not know cannot be offered
		}
		a.keys, a.names = append(a.keys, public), append(a.names, clean(k.Comment))
	}
	return nil
}

// has reports whether the agent holds exactly this key or certificate.
func (a *agentConn) has(key ssh.PublicKey) bool {
	if a == nil || key == nil {
		return false
	}
	for _, k := range a.keys {
		if sameKey(k, key) {
			return true
		}
	}
	return false
}

// sign signs with a key that the agent holds.
func (a *agentConn) sign(key ssh.PublicKey, data []byte, algorithm string) (*ssh.Signature, error) {
	var flags agent.SignatureFlags
	switch algorithm {
	case ssh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case ssh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	}
	_ = a.conn.SetDeadline(time.Now().Add(agentSigns))
	return a.client.SignWithFlags(key, data, flags)
}

func (a *agentConn) Close() error {
	if a == nil {
		return nil
	}
	return a.conn.Close()
}

var _ io.Closer = (*agentConn)(nil)
