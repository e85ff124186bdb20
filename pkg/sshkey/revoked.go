package sshkey

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Revoked is a list of keys that count no more.
type Revoked struct {
	name  string
	lines map[string]int  // of marshalled plain keys, and of fingerprints, "SHA256:…"
	krl   *revocationList // nil: the file is text
}

// maxRevoked is more than a list of a hundred thousand keys needs.
const maxRevoked = 16 << 20

// ParseRevoked reads what ssh-keygen -Y verify -r reads: text with one public key a line, or a binary key revocation list
// (KRL) as ssh-keygen -k makes it. A line of text may also be a fingerprint, SHA256:…. A file that cannot be read to its end
// is an error that names it and the line: who skipped a line would trust a key that somebody took back.
func ParseRevoked(r io.Reader, name string) (*Revoked, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxRevoked+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(data) > maxRevoked:
		return nil, fmt.Errorf("%s is larger than %s", name, manifest.FormatBytes(maxRevoked))
	}
	out := &Revoked{name: name, lines: map[string]int{}}
	if bytes.HasPrefix(data, []byte(krlMagic)) {
		if out.krl, err = parseKRL(data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return out, nil
	}
	for i, line := range strings.Split(string(data), "\n") {
		revoked, err := revokedIn(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
		if revoked != "" {
			out.lines[revoked] = i + 1
		}
	}
	return out, nil
}

// revokedIn returns what a line revokes, a marshalled key or a fingerprint.
func revokedIn(line string) (string, error) {
	if line == "" || line[0] == '#' {
		return "", nil
	}
	if strings.HasPrefix(line, fingerprintPrefix) {
		return ParseFingerprint(strings.Fields(line)[0])
	}
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil:
		return "", fmt.Errorf("neither a public key nor a fingerprint: %w", err)
	case len(options) > 0 || len(rest) > 0:
		return "", errors.New("more than a public key")
	}
	return string(Plain(key).Marshal()), nil
}

// Why says by which entry a key, a certificate or its authority is revoked, for people; "" when it is not. A nil Revoked
// revokes nothing.
func (r *Revoked) Why(key ssh.PublicKey) string {
	if r == nil {
		return ""
	}
	if where := r.where(Plain(key)); where != "" {
		return fmt.Sprintf("the key %s is revoked by %s", Describe(key), where)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return ""
	}
	if where := r.where(cert.SignatureKey); where != "" {
		return fmt.Sprintf("the certificate authority %s is revoked by %s", Describe(cert.SignatureKey), where)
	}
	if r.krl.revokesCertificate(cert) {
		return fmt.Sprintf("the certificate %q, number %d of %s, is revoked by %s", manifest.Plain(cert.KeyId), cert.Serial, Describe(cert.SignatureKey), r.name)
	}
	return ""
}

// where returns the file and line that revokes a plain key.
func (r *Revoked) where(key ssh.PublicKey) string {
	for _, entry := range []string{string(key.Marshal()), Fingerprint(key)} {
		if line := r.lines[entry]; line != 0 {
			return fmt.Sprintf("%s:%d", r.name, line)
		}
	}
	if r.krl.revokesKey(key) {
		return r.name
	}
	return ""
}
