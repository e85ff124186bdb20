package signature

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

const (
	armorBegin = "-----BEGIN " + sshsig.PEMType + "-----\n"
	armorEnd   = "\n-----END " + sshsig.PEMType + "-----"

	// MaxSize is more bytes than a signature with the largest keys and certificates has.
	MaxSize = 64 << 10
	typeDSA = "ssh-dss"
	// minRSA is the smallest number of bits of an RSA key.
	minRSA = 2048
)

// parse reads an armored signature as ssh-keygen writes it, with nothing around it. What it says is not checked yet.
func parse(armored []byte) (*sshsig.Signature, error) {
	if len(armored) > MaxSize {
		return nil, fmt.Errorf("it is larger than %d bytes", MaxSize)
	}
	body, begins := bytes.CutPrefix(armored, []byte(armorBegin))
	body, after, ends := bytes.Cut(body, []byte(armorEnd))
	if !begins || !ends || strings.TrimSpace(string(after)) != "" {
		return nil, errors.New("it is no armored SSH signature")
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(string(body))
	if err != nil {
		return nil, err
	}
	sig, err := sshsig.ParseSignature(blob)
	if err != nil {
		return nil, err
	}
	if len(sig.Signature.Rest) > 0 && !strings.HasPrefix(sig.Signature.Format, "sk-") { // x/crypto lets them pass
		return nil, errors.New("there are bytes after the signature")
	}
	return sig, nil
}

// flaw says why a signature is worth nothing, right as it may be; "" when it is. x/crypto accepts what is refused here.
func flaw(sig *sshsig.Signature) string {
	if sig.Signature.Format == ssh.KeyAlgoRSA {
		return "it was made with SHA-1"
	}
	return weakness(sig.PublicKey)
}

// verify reports whether the signature was made over message by the key that it names.
func verify(message []byte, sig *sshsig.Signature, namespace string) error {
	return sshsig.Verify(bytes.NewReader(message), sig, sig.PublicKey, sig.HashAlgorithm, namespace)
}

// weakness says why no signature of a key or certificate is worth anything; "" when it is.
func weakness(key ssh.PublicKey) string {
	if cert, ok := key.(*ssh.Certificate); ok {
		if why := weakness(cert.SignatureKey); why != "" {
			return "its certificate authority: " + why
		}
		return weakness(cert.Key)
	}
	if key.Type() == typeDSA {
		return "DSA keys are not accepted"
	}
	if k, ok := key.(ssh.CryptoPublicKey); ok {
		if public, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok && public.N.BitLen() < minRSA {
			return fmt.Sprintf("an RSA key of %d bits is not accepted, %d are the least", public.N.BitLen(), minRSA)
		}
	}
	return ""
}
