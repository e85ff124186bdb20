package sshkey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/clara-push/clara-push/pkg/manifest"
)

const (
	agentAnswers = 10 * time.Second // for the list of keys
	agentSigns   = 2 * time.Minute  // for a signature: a person may have to confirm it or to touch a token
)

// An Agent is a connection to ssh-agent. A nil Agent has no keys.
type Agent struct {
	Keys  []ssh.PublicKey // certificates among them
	Names []string        // comments of Keys, fit to print

	conn   net.Conn
	client agent.ExtendedAgent
}

// OpenAgent connects to ssh-agent at address; the empty one is that of SSH_AUTH_SOCK, or the system's usual place. It
// returns nil and no error when there is none, and an error when there is one that does not answer.
func OpenAgent(ctx context.Context, address string) (*Agent, error) {
	if address == "none" {
		return nil, nil
	}
	named := address != ""
	if !named {
		address = os.Getenv("SSH_AUTH_SOCK")
	}
	if address == "" {
		if address = defaultAgent; address == "" {
			return nil, nil
		}
	}
	conn, err := dialAgent(ctx, address)
	if err != nil {
		if named || !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("ssh-agent cannot be asked: %w", err)
		}
		return nil, nil
	}
	a := &Agent{conn: conn, client: agent.NewClient(conn)}
	if err := a.list(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("ssh-agent does not tell its keys: %w", err)
	}
	return a, nil
}

func (a *Agent) list() error {
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
		a.Keys, a.Names = append(a.Keys, public), append(a.Names, manifest.Plain(k.Comment))
	}
	return nil
}

// Has reports whether the agent holds exactly this key or certificate.
func (a *Agent) Has(key ssh.PublicKey) bool {
	if a == nil || key == nil {
		return false
	}
	for _, k := range a.Keys {
		if Same(k, key) {
			return true
		}
	}
	return false
}

// Sign signs with a key that the agent holds; for RSA, algorithm says with which hash. It waits for a person who has to
// confirm or to touch a token, up to two minutes.
func (a *Agent) Sign(key ssh.PublicKey, data []byte, algorithm string) (*ssh.Signature, error) {
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

// Close ends the connection, and with it what waits for an answer.
func (a *Agent) Close() error {
	if a == nil {
		return nil
	}
	return a.conn.Close()
}

var _ io.Closer = (*Agent)(nil)
