package sshkey

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A File is a key file as ssh takes one with -i. Opening it learns the public half where that can be had without a
// passphrase; the private half is unlocked when it is needed, and stays unlocked.
type File struct {
	Path         string
	Public       ssh.PublicKey   // nil: not known before unlocking
	Certificates []ssh.PublicKey // that lie beside it; not checked to be for this key
	Problem      string          // why the private half cannot be used from here; empty: it can

	locked bool                // needs a passphrase
	pem    []byte              // the file's content, when locked
	mu     sync.Mutex          // guards signer
	signer ssh.AlgorithmSigner // nil while locked or absent
}

const maxKeyFile = 1 << 20

// Open fails when there is neither a private nor a public key. A file that holds a public key alone is one with a Problem:
// the agent may have the private half.
func Open(path string) (*File, error) {
	k := &File{Path: path, Public: ReadPublic(path + ".pub")}
	if cert, ok := ReadPublic(path + CertificateSuffix).(*ssh.Certificate); ok {
		k.Certificates = append(k.Certificates, cert)
	}
	data, err := readSmall(path)
	if err != nil {
		k.Problem = "there is no private key in it"
		if k.Public == nil {
			return nil, err
		}
		return k, nil
	}
	if key := parsePublic(data); key != nil { // a public key named as IdentityFile chooses one that the agent has
		k.Public, k.Problem = key, "it holds a public key only"
		return k, nil
	}
	k.private(data)
	return k, nil
}

// CertificateSuffix is what the name of a certificate has after that of its key.
const CertificateSuffix = "-cert.pub"

// private looks at a private key. What cannot be used is still worth its public half: ssh-agent may have the key.
func (k *File) private(data []byte) {
	if why := openToOthers(k.Path); why != "" {
		k.Problem = why
		return
	}
	key, err := ssh.ParseRawPrivateKey(data)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		k.take(key)
	case errors.As(err, &locked):
		k.locked, k.pem = true, data
		if locked.PublicKey != nil {
			k.Public = locked.PublicKey
		}
		if c := cipherOf(data); c != "" && c != "aes256-ctr" && c != "aes256-cbc" {
			k.locked, k.Problem = false, "it is encrypted with "+manifest.Plain(c)+", which this program cannot read"
		}
	default:
		k.Problem = "this program cannot read this kind of key (" + manifest.Plain(err.Error()) + ")"
	}
}

func (k *File) take(key any) {
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		k.Problem = "this program cannot use this kind of key (" + manifest.Plain(err.Error()) + ")"
		return
	}
	s, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		k.Problem = "this program cannot sign with this kind of key"
		return
	}
	k.signer, k.Public = s, s.PublicKey()
}

// Locked reports whether Unlock would have to ask for a passphrase.
func (k *File) Locked() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.locked && k.signer == nil
}

// Unlock returns the signer, asking for the passphrase when it is needed: up to three times, an empty answer gives up. It may
// be called from any goroutine.
func (k *File) Unlock(ask func(prompt string) (string, error)) (ssh.AlgorithmSigner, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for range 3 {
		if k.signer != nil {
			return k.signer, nil
		}
		secret, err := ask(fmt.Sprintf("Passphrase for key %s: ", k.Path))
		if err != nil {
			return nil, fmt.Errorf("unlock %s: %w", k.Path, err)
		}
		if secret == "" {
			break
		}
		key, err := ssh.ParseRawPrivateKeyWithPassphrase(k.pem, []byte(secret))
		if err == nil {
			k.take(key)
		}
		if k.Problem != "" {
			return nil, fmt.Errorf("%s: %s", k.Path, k.Problem)
		}
	}
	if k.signer == nil {
		return nil, fmt.Errorf("unlock %s: no right passphrase was given", k.Path)
	}
	return k.signer, nil
}

// cipherOf returns the name of the cipher of a private key in OpenSSH's own form, "" for other forms.
func cipherOf(data []byte) string {
	block, _ := pem.Decode(data)
	magic := []byte("openssh-key-v1\x00")
	if block == nil || !bytes.HasPrefix(block.Bytes, magic) {
		return ""
	}
	rest := block.Bytes[len(magic):]
	if len(rest) < 4 {
		return ""
	}
	n := binary.BigEndian.Uint32(rest)
	if n > 64 || int(n) > len(rest)-4 {
		return ""
	}
	return string(rest[4 : 4+n])
}

// ReadPublic returns nil when the file is no public key or certificate.
func ReadPublic(path string) ssh.PublicKey {
	data, err := readSmall(path)
	if err != nil {
		return nil
	}
	return parsePublic(data)
}

func parsePublic(data []byte) ssh.PublicKey {
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil
	}
	return key
}

// readSmall reads a regular file, or what a pipe or device named as one gives, up to the size a key file can have.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}
