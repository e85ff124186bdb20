package signature

import (
	"crypto/rand"
	"crypto/sha512"
	"testing"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// weakSignature is by an RSA key of 1024 bits, which Go itself does not sign with any more.
func weakSignature(testing.TB) []byte { return pretend(keys()["weak"].public, ssh.KeyAlgoRSASHA512) }

// pretend makes a signature that names key and algorithm and is none.
func pretend(key ssh.PublicKey, algorithm string) []byte {
	return sshsig.Armor(&sshsig.Signature{
		Version: 1, PublicKey: key, Namespace: space, HashAlgorithm: sshsig.HashSHA512,
		Signature: &ssh.Signature{Format: algorithm, Blob: make([]byte, 128)},
	})
}

// sha1Signature is right but for its hash, which x/crypto would accept.
func sha1Signature(certified bool) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		k := keys()["rsa"]
		public := k.public
		if certified {
			public = k.certify(t, keys()["ca"], nil, "rel")
		}
		hash := sha512.Sum512([]byte(index))
		data := append([]byte("SSHSIG"), ssh.Marshal(struct{ Namespace, Reserved, Hash, Sum string }{space, "", "sha512", string(hash[:])})...)
		sig, err := k.signer.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSA)
		must(t, err)
		must(t, k.public.Verify(data, sig))
		return sshsig.Armor(&sshsig.Signature{Version: 1, PublicKey: public, Namespace: space, HashAlgorithm: sshsig.HashSHA512, Signature: sig})
	}
}
