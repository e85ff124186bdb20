package signature

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// FuzzSignature: no bytes but a right signature pass for one, whoever may sign.
func FuzzSignature(f *testing.F) {
	for _, s := range signatures {
		f.Add(s.sig(f))
	}
	for _, s := range []func(testing.TB) []byte{weakSignature, sha1Signature(true), changed(inSignature), around("", "\n"), raw(""), raw(armorBegin + armorEnd)} {
		f.Add(s(f))
	}
	p := Policy{Namespace: space, AllowUnsigned: true}
	f.Fuzz(func(t *testing.T, sig []byte) {
		if sig == nil {
			sig = []byte{}
		}
		got, err := p.Check([]byte(index), sig, time.Time{})
		if (err == nil) != (got.Key != "") {
			t.Fatalf("%+v, %v", got, err)
		}
		if err == nil && !reallySigned(sig) {
			t.Fatalf("%q was taken as signed by %+v", sig, got)
		}
	})
}

// reallySigned checks a signature in other words than the program does.
func reallySigned(armored []byte) bool {
	block, rest := pem.Decode(armored)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return false
	}
	var b struct {
		Magic                            [6]byte
		Version                          uint32
		Key, Space, Reserved, Hash, Made []byte
	}
	var made ssh.Signature
	if ssh.Unmarshal(block.Bytes, &b) != nil || ssh.Unmarshal(b.Made, &made) != nil || string(b.Magic[:])+string(b.Space) != "SSHSIG"+space {
		return false
	}
	sum := sha512.Sum512([]byte(index))
	sum256 := sha256.Sum256([]byte(index))
	hash := map[string][]byte{"sha512": sum[:], "sha256": sum256[:]}[string(b.Hash)]
	signed := append([]byte("SSHSIG"), ssh.Marshal(struct{ Space, Reserved, Hash, Sum []byte }{[]byte(space), nil, b.Hash, hash})...)
	key, err := ssh.ParsePublicKey(b.Key)
	return err == nil && hash != nil && made.Format != ssh.KeyAlgoRSA && key.Verify(signed, &made) == nil
}

// TestTokens checks signatures as security keys make them: over a hash, with flags and a counter.
func TestTokens(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags byte
		app   string
		want  bool
	}{
		{"touched", 1, "ssh:", true},
		{"not touched", 0, "ssh:", false},
		{"for another application", 1, "https://example.com", false},
	} {
		public, sig := tokenSignature(t, tt.flags, tt.app)
		p := Policy{Namespace: space, AllowedSigners: []string{write(t, t.TempDir(), "allowed_signers", "rel "+armorOf(public))}}
		got, err := p.Check([]byte(index), sig, time.Time{})
		if (err == nil) != tt.want || tt.want && (got.Type != "ED25519-SK" || got.Principal != "rel") {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}

// TestTokensAsKeygen makes sure that the token of the test above signs as real ones do.
func TestTokensAsKeygen(t *testing.T) {
	needKeygen(t)
	public, sig := tokenSignature(t, 1, "ssh:")
	dir := t.TempDir()
	o := oracle{t: t, sig: write(t, dir, "sig", string(sig)), file: write(t, dir, "allowed_signers", "rel "+armorOf(public)), at: "20260601Z", namespace: space}
	if !o.verify("rel") {
		t.Error(o.answer)
	}
}

// tokenSignature signs as a token for application ssh: would that was asked for app.
func tokenSignature(t testing.TB, flags byte, app string) (ssh.PublicKey, []byte) {
	t.Helper()
	key, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	public, err := ssh.ParsePublicKey(ssh.Marshal(struct {
		Type string
		Key  []byte
		App  string
	}{ssh.KeyAlgoSKED25519, key, "ssh:"}))
	must(t, err)
	type tail struct {
		Flags   byte
		Counter uint32
	}
	s := &Signer{public: public, where: "token"}
	s.sign = func(_ context.Context, data []byte, _ string) (*ssh.Signature, error) {
		appHash, dataHash := sha256.Sum256([]byte(app)), sha256.Sum256(data)
		signed := bytes.Join([][]byte{appHash[:], ssh.Marshal(tail{flags, 9}), dataHash[:]}, nil)
		return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(private, signed), Rest: ssh.Marshal(tail{flags, 9})}, nil
	}
	sig, err := sshsig.Sign(strings.NewReader(index), bound{s, t.Context()}, sshsig.HashSHA512, space) // unchecked, as an evil signer would
	must(t, err)
	return public, sshsig.Armor(sig)
}
