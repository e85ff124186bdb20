package signature

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	space = "clara-push-bundle"
	index = `{"schemaVersion":2,"manifests":[]}`
)

// A testKey is a key with the certificates that an authority gave it.
type testKey struct {
	raw    crypto.PrivateKey
	signer ssh.AlgorithmSigner
	public ssh.PublicKey
}

// line is the public key as files have it.
func (k testKey) line() string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.public))) }

// sign makes a signature over message that names public, which may be a certificate for k.
func (k testKey) sign(t testing.TB, public ssh.PublicKey, namespace, message string) []byte {
	t.Helper()
	s := &Signer{public: public, where: "test", sign: func(_ context.Context, data []byte, algorithm string) (*ssh.Signature, error) {
		return k.signer.SignWithAlgorithm(rand.Reader, data, algorithm)
	}}
	sig, err := s.Sign(context.Background(), namespace, []byte(message))
	must(t, err)
	return sig
}

// certify makes a certificate by ca for k; change may spoil it before it is signed.
func (k testKey) certify(t testing.TB, ca testKey, change func(*ssh.Certificate), principals ...string) *ssh.Certificate {
	t.Helper()
	c := &ssh.Certificate{
		Key: k.public, KeyId: "release 7", Serial: 7, CertType: ssh.UserCert, ValidPrincipals: principals,
		ValidAfter: uint64(day("20260101Z").Unix()), ValidBefore: uint64(day("20270101Z").Unix()),
	}
	if change != nil {
		change(c)
	}
	must(t, c.SignCert(rand.Reader, ca.signer))
	return c
}

func makeKey(t testing.TB, raw crypto.PrivateKey) testKey {
	t.Helper()
	s, err := ssh.NewSignerFromKey(raw)
	must(t, err)
	return testKey{raw, s.(ssh.AlgorithmSigner), s.PublicKey()}
}

// keys are made once: RSA keys take their time.
var keys = sync.OnceValue(func() map[string]testKey {
	t := &testing.T{}
	out := map[string]testKey{}
	for _, name := range []string{"maker", "other", "ca"} {
		_, raw, _ := ed25519.GenerateKey(rand.Reader)
		out[name] = makeKey(t, raw)
	}
	for name, bits := range map[string]int{"rsa": 2048, "weak": 1024} {
		raw, _ := rsa.GenerateKey(rand.Reader, bits)
		out[name] = makeKey(t, raw)
	}
	raw, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	out["ecdsa"] = makeKey(t, raw)
	return out
})

// dsaLine is a DSA key in form; no signature of it is needed.
func dsaLine() string {
	big1024, big160 := new(big.Int).Lsh(big.NewInt(1), 1023), new(big.Int).Lsh(big.NewInt(1), 159)
	blob := ssh.Marshal(struct {
		Type       string
		P, Q, G, Y *big.Int
	}{"ssh-dss", big1024, big160, big.NewInt(2), big.NewInt(4)})
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return "ssh-dss " + err.Error()
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// fill writes the public keys into a text that has their names in angle brackets.
func fill(text string) string {
	for name, k := range keys() {
		text = strings.ReplaceAll(text, "<"+name+">", k.line())
		text = strings.ReplaceAll(text, "<"+name+" fingerprint>", ssh.FingerprintSHA256(k.public))
	}
	return strings.ReplaceAll(text, "<dsa>", dsaLine())
}

func day(s string) time.Time {
	t, err := ParseTime(s)
	if err != nil {
		panic(err)
	}
	return t
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write makes a file as umask 022 would.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// writePrivate writes a private key, encrypted when there is a passphrase, and its public half beside it.
func (k testKey) writePrivate(t testing.TB, dir, name, passphrase string) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(k.raw, name)
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(k.raw, name, []byte(passphrase))
	}
	must(t, err)
	path := write(t, dir, name, string(pem.EncodeToMemory(block)))
	must(t, os.Chmod(path, 0o600))
	write(t, dir, name+".pub", k.line()+"\n")
	return path
}

func armorOf(key ssh.PublicKey) string { return string(ssh.MarshalAuthorizedKey(key)) }

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}
