package sshkey

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Describe names a key as people compare it: "ED25519 SHA256:…".
func Describe(key ssh.PublicKey) string { return Type(key) + " " + Fingerprint(key) }

// Fingerprint is that of the plain key, also for a certificate, as ssh-keygen -l prints it.
func Fingerprint(key ssh.PublicKey) string { return ssh.FingerprintSHA256(Plain(key)) }

const fingerprintPrefix = "SHA256:"

// ParseFingerprint accepts "SHA256:…" as ssh-keygen -l prints it, with or without padding, and returns it without.
func ParseFingerprint(s string) (string, error) {
	hash, ok := strings.CutPrefix(s, fingerprintPrefix)
	hash = strings.TrimRight(hash, "=")
	if raw, err := base64.RawStdEncoding.Strict().DecodeString(hash); !ok || err != nil || len(raw) != sha256.Size {
		return "", fmt.Errorf("%q is not a fingerprint: it is written SHA256: and 43 letters", manifest.Plain(s))
	}
	return fingerprintPrefix + hash, nil
}

// Type is a key's kind as people know it: ED25519, RSA, ECDSA-SK.
func Type(key ssh.PublicKey) string { return shortType(key.Type()) }

func shortType(t string) string {
	switch t = BaseType(t); {
	case strings.HasPrefix(t, "sk-"):
		return shortType(strings.TrimSuffix(strings.TrimPrefix(t, "sk-"), "@openssh.com")) + "-SK"
	case strings.HasPrefix(t, "ecdsa-"):
		return "ECDSA"
	}
	return strings.ToUpper(strings.TrimPrefix(t, "ssh-"))
}

// BaseType is the type of the plain key in a certificate of type t.
func BaseType(t string) string {
	base, ok := strings.CutSuffix(t, certSuffix)
	if ok && strings.HasPrefix(base, "sk-") {
		return base + "@openssh.com"
	}
	return base
}

const certSuffix = "-cert-v01@openssh.com"

// Same reports whether two keys or certificates are the same. A nil one is like no other.
func Same(a, b ssh.PublicKey) bool {
	return a != nil && b != nil && bytes.Equal(a.Marshal(), b.Marshal())
}

// Plain returns the key that a certificate is for, any other key as it is.
func Plain(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

// Authority returns who signed a certificate, nil for a plain key.
func Authority(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.SignatureKey
	}
	return nil
}
