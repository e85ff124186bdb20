package dial

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
)

// A keyFile is one IdentityFile. Opening it learns the public half where that can be had without a passphrase; the
// private half is unlocked when a server is ready to take the key, and stays unlocked for further connections.
type keyFile struct {
	path         string
	public       ssh.PublicKey       // nil: not known before unlocking
	certificates []ssh.PublicKey     // for this key, to be offered before it
	problem      string              // why the private half cannot be used from here; empty: it can
	locked       bool                // needs a passphrase
	pem          []byte              // the file's content, when locked
	mu           sync.Mutex          // guards signer
	signer       ssh.AlgorithmSigner // nil while locked or absent
}

const maxKeyFile = 1 << 20

// openKeyFile returns nil when there is neither a private nor a public key.
func openKeyFile(path string) (*keyFile, error) {
	k := &keyFile{path: path, public: readPublic(path + ".pub")}
	if cert, ok := readPublic(path + certFileSuffix).(*ssh.Certificate); ok {
		k.certificates = append(k.certificates, cert)
	}
	data, err := readSmall(path)
	if err != nil {
		k.problem = "there is no private key in it"
		if k.public == nil {
			return nil, err
		}
		return k, nil
	}
	if key := parsePublic(data); key != nil { // a public key named as IdentityFile chooses one that the agent has
		k.public, k.problem = key, "it holds a public key only"
		return k, nil
	}
	k.private(data)
	return k, nil
}

const certFileSuffix = "-cert.pub"

// private looks at a private key. What cannot be used is still worth its public half: ssh-agent may have the key.
func (k *keyFile) private(data []byte) {
	if why := openToOthers(k.path); why != "" {
		k.problem = why
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
			k.public = locked.PublicKey
		}
		if c := cipherOf(data); c != "" && c != "aes256-ctr" && c != "aes256-cbc" {
			k.locked, k.problem = false, "it is encrypted with "+clean(c)+", which this program cannot read"
		}
	default:
		k.problem = "this program cannot read this kind of key (" + clean(err.Error()) + ")"
	}
}

func (k *keyFile) take(key any) {
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		k.problem = "this program cannot use this kind of key (" + clean(err.Error()) + ")"
		return
	}
	s, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		k.problem = "this program cannot sign with this kind of key"
		return
	}
	k.signer, k.public = s, s.PublicKey()
}

// unlock returns the signer, asking for the passphrase when it is needed: up to three times, an empty answer gives up.
func (k *keyFile) unlock(ask func(prompt string) (string, error)) (ssh.AlgorithmSigner, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for range 3 {
		if k.signer != nil {
			return k.signer, nil
		}
		secret, err := ask(fmt.Sprintf("Passphrase for key %s: ", k.path))
		if err != nil {
			return nil, fmt.Errorf("unlock %s: %w", k.path, err)
		}
		if secret == "" {
			break
		}
		key, err := ssh.ParseRawPrivateKeyWithPassphrase(k.pem, []byte(secret))
		if err == nil {
			k.take(key)
		}
		if k.problem != "" {
			return nil, fmt.Errorf("%s: %s", k.path, k.problem)
		}
	}
	if k.signer == nil {
		return nil, fmt.Errorf("unlock %s: no right passphrase was given", k.path)
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

// readPublic returns nil when the file is no public key or certificate.
func readPublic(path string) ssh.PublicKey {
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
