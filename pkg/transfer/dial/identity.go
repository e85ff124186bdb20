package dial

import (
	"context"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/sshkey"
)

// An identity is one key or certificate that is offered to a server. It signs only when the server would take it, so
// a passphrase is asked for no key in vain.
type identity struct {
	public ssh.PublicKey
	name   string // for messages
	weak   bool   // may sign with SHA-1
	sign   func(data []byte, algorithm string) (*ssh.Signature, error)
	login  *login
}

// PublicKey is asked by x/crypto just before the key is offered, which is noted for messages.
func (i *identity) PublicKey() ssh.PublicKey {
	i.login.offer(i.name)
	return i.public
}

// Algorithms are those the key may sign with, best first.
func (i *identity) Algorithms() []string {
	base := sshkey.BaseType(i.public.Type())
	if base != ssh.KeyAlgoRSA {
		return []string{base}
	}
	if i.weak {
		return signatureTypes(base)
	}
	return signatureTypes(base)[:2]
}

// Sign signs with the algorithm that the key's type names.
func (i *identity) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return i.SignWithAlgorithm(rand, data, "")
}

// SignWithAlgorithm signs; a failure is noted so that the keys after this one are still offered.
func (i *identity) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	sig, err := i.sign(data, algorithm)
	if err != nil {
		i.login.signFailed(i, err)
		return nil, fmt.Errorf("sign with %s: %w", i.name, err)
	}
	i.login.signed = i
	return sig, nil
}

// identities lists what to offer, in order: what worked before; each key file with its certificates before it;
// certificates and keys that only the agent has. Servers give up after about six, so no key comes twice.
func (l *login) identities(ctx context.Context, agent *sshkey.Agent) []ssh.Signer {
	c := &collector{login: l, agent: agent, ctx: ctx, seen: map[string]bool{}}
	for _, k := range l.hop.keys {
		certs := append(k.Certificates[:len(k.Certificates):len(k.Certificates)], l.hop.certificatesFor(k.Public)...)
		for _, cert := range certs {
			c.file(k, cert)
		}
		c.file(k, nil)
	}
	if agent != nil {
		c.agentKeys()
	}
	return c.ordered(l.hop.lastGood())
}

// A collector gathers identities for one login.
type collector struct {
	login *login
	agent *sshkey.Agent
	ctx   context.Context
	seen  map[string]bool
	found []*identity
}

// file adds the key of a file, or a certificate for it. The agent signs when it has the key, else the file does.
func (c *collector) file(k *sshkey.File, cert ssh.PublicKey) {
	name := k.Path
	public := k.Public
	if cert != nil {
		public, name = cert, name+" with its certificate"
	}
	switch {
	case c.agent.Has(k.Public):
		c.add(public, name, c.agentSigner(k.Public))
	case cert != nil && c.agent.Has(cert):
		c.add(public, name, c.agentSigner(cert))
	case k.Problem != "":
		c.login.skip(k.Path + ": " + k.Problem)
		if slices.Contains(c.login.hop.named, k.Path) {
			c.login.hop.warn("the key " + k.Path + " is not used: " + k.Problem + "; ssh-agent may be able to: add it with ssh-add")
		}
	case k.Locked() && !c.login.ask.can():
		c.login.skip(k.Path + " needs a passphrase and there is no terminal to ask at")
	default:
		c.unlocked(k, public, name)
	}
}

// unlocked adds a key of a file. Where nothing tells its public half, the passphrase has to be asked at once.
func (c *collector) unlocked(k *sshkey.File, public ssh.PublicKey, name string) {
	unlock := func() (ssh.AlgorithmSigner, error) {
		return k.Unlock(func(prompt string) (string, error) { return c.login.ask.passphrase(c.ctx, prompt) })
	}
	if public == nil {
		signer, err := unlock()
		if err != nil {
			c.login.skip(err.Error())
			return
		}
		public = signer.PublicKey()
	}
	c.add(public, name, func(data []byte, algorithm string) (*ssh.Signature, error) {
		signer, err := unlock()
		if err != nil {
			return nil, err
		}
		return signer.SignWithAlgorithm(nil, data, algorithm)
	})
}

func (c *collector) agentSigner(key ssh.PublicKey) func([]byte, string) (*ssh.Signature, error) {
	return func(data []byte, algorithm string) (sig *ssh.Signature, err error) {
		c.login.ask.pause(func() { sig, err = c.agent.Sign(key, data, algorithm) })
		return sig, err
	}
}

// agentKeys adds what the agent has and no file has brought: all of it, or with IdentitiesOnly what the configuration
// names.
func (c *collector) agentKeys() {
	for i, key := range c.agent.Keys {
		if c.login.hop.settings.identitiesOnly && !c.login.hop.namesKey(key) {
			continue
		}
		name := "ssh-agent's " + sshkey.Describe(sshkey.Plain(key)) + " " + c.agent.Names[i]
		for _, cert := range c.login.hop.certificatesFor(key) {
			c.add(cert, name+" with its certificate", c.agentSigner(key))
		}
		c.add(key, name, c.agentSigner(key))
	}
}

func (c *collector) add(public ssh.PublicKey, name string, sign func([]byte, string) (*ssh.Signature, error)) {
	s := &c.login.hop.settings
	id := string(public.Marshal())
	if c.seen[id] || !s.accepts(public.Type()) {
		return
	}
	c.seen[id] = true
	weak := len(s.keyTypes) > 0 && containsAny(s.keyTypes, ssh.KeyAlgoRSA, ssh.CertAlgoRSAv01)
	c.found = append(c.found, &identity{public: public, name: name, weak: weak, sign: sign, login: c.login})
}

func (c *collector) ordered(first ssh.PublicKey) []ssh.Signer {
	var before, after []ssh.Signer
	for _, i := range c.found {
		if first != nil && sshkey.Same(i.public, first) {
			before = append(before, i)
		} else {
			after = append(after, i)
		}
	}
	return append(before, after...)
}
