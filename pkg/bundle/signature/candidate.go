package signature

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/sshkey"
)

// A candidate is a key of which the private half is still to be found.
type candidate struct {
	name   string        // as the person wrote it
	public ssh.PublicKey // key or certificate to sign as; nil: not known before unlocking
	file   *sshkey.File  // nil: there is none beside
	prompt Prompt
}

// signer takes the private half from where it costs a person least: a file that needs no passphrase, the agent, a file.
func (c candidate) signer(ctx context.Context) (*Signer, error) {
	if c.file != nil && c.file.Problem == "" && !c.file.Locked() {
		return c.fromFile(ctx)
	}
	held, trouble := c.inAgent(ctx)
	switch {
	case held != nil:
		return agentSigner(c.public, held), nil
	case c.file == nil:
		return nil, cannot(c.name, "the private half is neither beside it nor in ssh-agent%s", trouble).Advise("ssh-add the key")
	case c.file.Problem != "":
		return nil, cannot(c.name, "%s, and ssh-agent does not have it%s", c.file.Problem, trouble).Advise("ssh-add the key, or name another one")
	case c.prompt == nil:
		return nil, cannot(c.name, "it needs a passphrase, and there is nobody to ask").Advise("ssh-add the key first, or run this on a terminal")
	}
	return c.fromFile(ctx)
}

// inAgent returns what the agent has of the key, and what is wrong with the agent, to be added to a message.
func (c candidate) inAgent(ctx context.Context) (held ssh.PublicKey, trouble string) {
	agent, err := sshkey.OpenAgent(ctx, "")
	if err != nil {
		return nil, fmt.Sprintf(" (%v)", err)
	}
	if agent == nil {
		return nil, " (there is no ssh-agent)"
	}
	defer agent.Close()
	for _, k := range []ssh.PublicKey{c.public, plainOf(c.public)} {
		if agent.Has(k) {
			return k, ""
		}
	}
	return nil, ""
}

func plainOf(key ssh.PublicKey) ssh.PublicKey {
	if key == nil {
		return nil
	}
	return sshkey.Plain(key)
}

func (c candidate) fromFile(ctx context.Context) (*Signer, error) {
	private, err := c.file.Unlock(func(prompt string) (string, error) { return c.prompt(ctx, prompt) })
	if err != nil {
		return nil, cannot(c.name, "%w", err)
	}
	if c.public == nil {
		c.public = withCertificate(private.PublicKey(), c.file.Certificates)
	}
	if !sshkey.Same(sshkey.Plain(c.public), private.PublicKey()) {
		err := errors.New("the public key or certificate beside it is for another key")
		return nil, cannot(c.name, "%w", err).Advise("ssh-keygen -y -f %s prints the right public key", c.file.Path)
	}
	sign := func(_ context.Context, data []byte, algorithm string) (*ssh.Signature, error) {
		return private.SignWithAlgorithm(nil, data, algorithm)
	}
	return &Signer{public: c.public, where: c.file.Path, sign: sign}, nil
}
