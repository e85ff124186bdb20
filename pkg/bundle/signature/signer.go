package signature

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/sshkey"
)

// A Signer signs bundles with one key.
type Signer struct {
	public ssh.PublicKey // what signatures name: the key, or a certificate for it
	where  string        // the key is, for messages
	sign   func(ctx context.Context, data []byte, algorithm string) (*ssh.Signature, error)
}

// A Prompt asks a person for a secret, which is not shown as it is typed.
type Prompt func(ctx context.Context, prompt string) (string, error)

// OpenSigner finds a key to sign with:
//
//   - the path of a private key: that key, with the certificate beside it (PATH-cert.pub) when there is one,
//   - the path of a public key (PATH.pub): that key without a certificate,
//   - the path of a certificate (PATH-cert.pub): that certificate,
//   - a fingerprint (SHA256:…): that key of ssh-agent, with its certificate when the agent has one.
//
// The private half is the file beside, or in the agent of SSH_AUTH_SOCK. A passphrase is asked for through prompt, now, so
// that nothing waits for it later; nil is nobody to ask. An error is a *manifest.Failure, KindNotFound when there is no such
// key, KindPolicy when it cannot sign.
func OpenSigner(ctx context.Context, key string, prompt Prompt) (*Signer, error) {
	s, err := find(ctx, key, prompt)
	if err != nil {
		return nil, err
	}
	if why := weakness(s.public); why != "" {
		return nil, cannot(key, "%s", why).Advise("make one with ssh-keygen -t ed25519")
	}
	if cert, ok := s.public.(*ssh.Certificate); ok {
		if v := checkCertificate(cert, time.Now()); v.why != "" {
			return nil, cannot(key, "the certificate for it would not count: %s", v.why).Advise("name the key's .pub file to sign without the certificate")
		}
	}
	return s, nil
}

func cannot(key, format string, args ...any) *manifest.Failure {
	return manifest.Fail(manifest.KindPolicy, "sign with "+manifest.Plain(key), format, args...)
}

// Sign returns the armored signature over message, in the form in which ssh-keygen -Y sign makes it.
func (s *Signer) Sign(ctx context.Context, namespace string, message []byte) ([]byte, error) {
	sig, err := sshsig.Sign(bytes.NewReader(message), bound{s, ctx}, sshsig.HashSHA512, namespace)
	if err != nil {
		return nil, manifest.Fail(manifest.KindPolicy, "sign", "%s: %w", s.where, err)
	}
	// An agent may answer anything; better heard of here than on the host.
	if err := verify(message, sig, namespace); err != nil {
		return nil, manifest.Fail(manifest.KindPolicy, "sign", "%s gave a signature that is wrong: %w", s.where, err)
	}
	return sshsig.Armor(sig), nil
}

// Key is the fingerprint of the key, "SHA256:…".
func (s *Signer) Key() string { return sshkey.Fingerprint(s.public) }

// String names the key for people, and the authority of its certificate.
func (s *Signer) String() string { return describe(s.public) }

// AllowedLine is the line that lets allowed_signers accept signatures of this key made for namespace, as principal.
func (s *Signer) AllowedLine(namespace, principal string) string {
	return Policy{Namespace: namespace, Principal: principal}.line(s.public)
}

// bound is a Signer as x/crypto and sshsig want it. With RSA it signs SHA-512, also for a certificate, where sshsig leaves the
// choice to the key and x/crypto would take SHA-1.
type bound struct {
	*Signer
	ctx context.Context
}

// PublicKey is the key or certificate that signatures name.
func (b bound) PublicKey() ssh.PublicKey { return b.public }

// Sign signs with the best algorithm of the key.
func (b bound) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	algorithm := sshkey.BaseType(b.public.Type())
	if algorithm == ssh.KeyAlgoRSA {
		algorithm = ssh.KeyAlgoRSASHA512
	}
	return b.sign(b.ctx, data, algorithm)
}

// SignWithAlgorithm signs with algorithm.
func (b bound) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	return b.sign(b.ctx, data, algorithm)
}

// suffixes of files that hold public halves.
const publicSuffix = ".pub"

// find takes the words of OpenSigner for a key apart.
func find(ctx context.Context, key string, prompt Prompt) (*Signer, error) {
	if strings.HasPrefix(key, "SHA256:") {
		return findInAgent(ctx, key)
	}
	c := candidate{name: key, prompt: prompt}
	path, isPublic := strings.CutSuffix(key, publicSuffix)
	if isPublic {
		if c.public = sshkey.ReadPublic(key); c.public == nil {
			return nil, manifest.Fail(manifest.KindNotFound, "sign with "+manifest.Plain(key), "there is no public key").Advise(hintKeys)
		}
		path = strings.TrimSuffix(path, "-cert")
	}
	file, err := sshkey.Open(path)
	if err != nil && c.public == nil {
		return nil, manifest.Fail(manifest.KindNotFound, "sign with "+manifest.Plain(key), "there is no key: %w", err).Advise(hintKeys)
	}
	if c.file = file; c.public == nil {
		c.public = withCertificate(file.Public, file.Certificates)
	}
	return c.signer(ctx)
}

const hintKeys = "name the file of a private key (or of its public half, when ssh-agent has the private one), or the fingerprint of a key in ssh-agent as ssh-add -l prints it"

// withCertificate returns the certificate for key among certs, else key.
func withCertificate(key ssh.PublicKey, certs []ssh.PublicKey) ssh.PublicKey {
	for _, c := range certs {
		if cert, ok := c.(*ssh.Certificate); ok && sshkey.Same(cert.Key, key) {
			return cert
		}
	}
	return key
}

// findInAgent finds a key of the agent by its fingerprint.
func findInAgent(ctx context.Context, key string) (*Signer, error) {
	fingerprint, err := sshkey.ParseFingerprint(key)
	if err != nil {
		return nil, manifest.Fail(manifest.KindUsage, "sign", "%w", err).Advise(hintKeys)
	}
	agent, err := sshkey.OpenAgent(ctx, "")
	switch {
	case err != nil:
		return nil, cannot(key, "%w", err)
	case agent == nil:
		return nil, cannot(key, "there is no ssh-agent to ask for it").Advise("start one, and ssh-add the key; or name the key's file")
	}
	defer agent.Close()
	for _, k := range agent.Keys {
		if sshkey.Fingerprint(k) == fingerprint {
			return agentSigner(withCertificate(sshkey.Plain(k), agent.Keys), k), nil
		}
	}
	return nil, manifest.Fail(manifest.KindNotFound, "sign with "+key, "ssh-agent does not have this key").Advise("ssh-add -l lists what it has")
}

// agentSigner signs as public with held, which the agent has. The agent is asked anew each time: a bundle takes long to make.
func agentSigner(public, held ssh.PublicKey) *Signer {
	return &Signer{public: public, where: "ssh-agent", sign: func(ctx context.Context, data []byte, algorithm string) (*ssh.Signature, error) {
		agent, err := sshkey.OpenAgent(ctx, "")
		if err != nil {
			return nil, err
		}
		if agent == nil {
			return nil, fmt.Errorf("it is gone")
		}
		defer agent.Close()
		defer context.AfterFunc(ctx, func() { agent.Close() })()
		return agent.Sign(held, data, algorithm)
	}}
}
