package signature

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// startAgent runs a real ssh-agent with a socket of its own, and adds the keys of these files.
func startAgent(t *testing.T, files ...string) {
	t.Helper()
	program, err := exec.LookPath("ssh-agent")
	if err != nil {
		t.Skip("there is no ssh-agent on this machine")
	}
	dir, err := os.MkdirTemp("", "agent") // short: the path of a socket has at most 107 bytes
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	c := exec.Command(program, "-D", "-a", socket)
	must(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	t.Setenv("SSH_AUTH_SOCK", socket)
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) { // its socket is there before it listens
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		c := exec.Command("ssh-add", "-q", f)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("ssh-add %s: %v\n%s", f, err, out)
		}
	}
}

// A keyring is key files of every kind in a folder.
type keyring string

func (k keyring) path(name string) string { return filepath.Join(string(k), name) }

func newKeyring(t *testing.T) keyring {
	dir := t.TempDir()
	for _, name := range []string{"maker", "rsa", "ecdsa", "weak"} {
		keys()[name].writePrivate(t, dir, name, "")
	}
	keys()["maker"].writePrivate(t, dir, "locked", "open sesame")
	for name, cert := range map[string]*ssh.Certificate{
		"certified":  keys()["maker"].certify(t, keys()["ca"], current, "rel"),
		"certrsa":    keys()["rsa"].certify(t, keys()["ca"], current, "rel"),
		"expired":    keys()["maker"].certify(t, keys()["ca"], func(c *ssh.Certificate) { c.ValidBefore = c.ValidAfter + 1 }, "rel"),
		"strange":    keys()["other"].certify(t, keys()["ca"], current, "rel"),
		"lockedcert": keys()["maker"].certify(t, keys()["ca"], current, "rel"),
	} {
		key, passphrase := keys()["maker"], ""
		switch name {
		case "certrsa":
			key = keys()["rsa"]
		case "lockedcert":
			passphrase = "open sesame"
		}
		key.writePrivate(t, dir, name, passphrase)
		write(t, dir, name+"-cert.pub", armorOf(cert))
	}
	keys()["maker"].writePrivate(t, dir, "open", "")
	must(t, os.Chmod(filepath.Join(dir, "open"), 0o644))
	keys()["maker"].writePrivate(t, dir, "mixed", "")
	write(t, dir, "mixed.pub", keys()["other"].line())
	write(t, dir, "alone.pub", keys()["other"].line())
	write(t, dir, "mine.pub", keys()["maker"].line())
	return keyring(dir)
}

// current makes a certificate valid now, whenever the tests run.
func current(c *ssh.Certificate) {
	c.ValidAfter, c.ValidBefore = uint64(time.Now().Add(-time.Hour).Unix()), uint64(time.Now().Add(time.Hour).Unix())
}

// TestOpenSigner tries each way to name a key, with and without an agent that holds maker's.
func TestOpenSigner(t *testing.T) {
	k := newKeyring(t)
	maker := ssh.FingerprintSHA256(keys()["maker"].public)
	for _, tt := range []struct {
		name, key string
		agent     []string // files that ssh-agent has
		answers   []string // to questions for a passphrase; nil: there is nobody to ask
		allowed   string   // that must accept the signature
		want      manifest.Kind
		says      string
	}{
		{name: "ed25519", key: k.path("maker"), allowed: "rel <maker>"},
		{name: "rsa", key: k.path("rsa"), allowed: "rel <rsa>"},
		{name: "ecdsa", key: k.path("ecdsa"), allowed: "rel <ecdsa>"},
		{name: "weak", key: k.path("weak"), want: manifest.KindPolicy, says: "1024 bits"},
		{name: "public half named", key: k.path("maker.pub"), allowed: "rel <maker>"},
		{name: "with certificate", key: k.path("certified"), allowed: "rel cert-authority <ca>"},
		{name: "with certificate, named", key: k.path("certified-cert.pub"), allowed: "rel cert-authority <ca>"},
		{name: "without certificate", key: k.path("certified.pub"), allowed: "rel <maker>"},
		{name: "rsa with certificate", key: k.path("certrsa"), allowed: "rel cert-authority <ca>"},
		{name: "expired certificate", key: k.path("expired"), want: manifest.KindPolicy, says: "was valid until"},
		{name: "expired certificate left out", key: k.path("expired.pub"), allowed: "rel <maker>"},
		{name: "certificate of another key", key: k.path("strange"), allowed: "rel <maker>"},
		{name: "certificate of another key, named", key: k.path("strange-cert.pub"), want: manifest.KindPolicy, says: "another key"},
		{name: "locked", key: k.path("locked"), answers: []string{"no", "open sesame"}, allowed: "rel <maker>"},
		{name: "locked, nobody there", key: k.path("locked"), want: manifest.KindPolicy, says: "nobody to ask"},
		{name: "locked, given up", key: k.path("locked"), answers: []string{"no", ""}, want: manifest.KindPolicy, says: "no right passphrase"},
		{name: "locked with certificate", key: k.path("lockedcert"), answers: []string{"open sesame"}, allowed: "rel cert-authority <ca>"},
		{name: "locked, in the agent", key: k.path("locked"), agent: []string{k.path("maker")}, allowed: "rel <maker>"},
		{name: "locked with certificate, in the agent", key: k.path("lockedcert"), agent: []string{k.path("maker")}, allowed: "rel cert-authority <ca>"},
		{name: "others may read it", key: k.path("open"), want: manifest.KindPolicy, says: "chmod 600"},
		{name: "others may read it, in the agent", key: k.path("open"), agent: []string{k.path("maker")}, allowed: "rel <maker>"},
		{name: "public half of another", key: k.path("mixed.pub"), want: manifest.KindPolicy, says: "another key"},
		{name: "public half alone", key: k.path("mine.pub"), want: manifest.KindPolicy, says: "no private key in it, and ssh-agent does not have it (there is no ssh-agent)"},
		{name: "public half alone, in the agent", key: k.path("mine.pub"), agent: []string{k.path("maker")}, allowed: "rel <maker>"},
		{name: "public half alone, not in the agent", key: k.path("alone.pub"), agent: []string{k.path("maker")}, want: manifest.KindPolicy, says: "ssh-agent does not have it"},
		{name: "fingerprint", key: maker, agent: []string{k.path("rsa"), k.path("maker")}, allowed: "rel <maker>"},
		{name: "fingerprint, certificate in the agent", key: maker, agent: []string{k.path("certified")}, allowed: "rel cert-authority <ca>"},
		{name: "fingerprint, rsa", key: ssh.FingerprintSHA256(keys()["rsa"].public), agent: []string{k.path("rsa")}, allowed: "rel <rsa>"},
		{name: "fingerprint, rsa certificate", key: ssh.FingerprintSHA256(keys()["rsa"].public), agent: []string{k.path("certrsa")}, allowed: "rel cert-authority <ca>"},
		{name: "fingerprint, not there", key: maker, agent: []string{k.path("rsa")}, want: manifest.KindNotFound, says: "does not have"},
		{name: "fingerprint, no agent", key: maker, want: manifest.KindPolicy, says: "no ssh-agent"},
		{name: "no fingerprint", key: "SHA256:abc", want: manifest.KindUsage, says: "not a fingerprint"},
		{name: "no file", key: k.path("nothing"), want: manifest.KindNotFound, says: "no key"},
		{name: "no public file", key: k.path("nothing.pub"), want: manifest.KindNotFound, says: "no public key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("SSH_AUTH_SOCK", "")
			if tt.agent != nil {
				startAgent(t, tt.agent...)
			}
			s, err := OpenSigner(t.Context(), tt.key, prompting(tt.answers))
			if tt.want != "" {
				if s != nil || manifest.KindOf(err) != tt.want || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%v, %v; want %s, %q", s, err, tt.want, tt.says)
				}
				return
			}
			must(t, err)
			sig, err := s.Sign(t.Context(), space, []byte(index))
			must(t, err)
			p := Policy{Namespace: space, AllowedSigners: []string{write(t, t.TempDir(), "allowed_signers", fill(tt.allowed))}}
			got, err := p.Check([]byte(index), sig, time.Time{})
			if err != nil || got.Key != s.Key() {
				t.Errorf("%+v, %v", got, err)
			}
			p.AllowedSigners = []string{write(t, t.TempDir(), "allowed_signers", s.AllowedLine(space, "rel"))}
			if got, err = p.Check([]byte(index), sig, time.Time{}); err != nil || got.Principal != "rel" {
				t.Errorf("its own line does not do: %+v, %v", got, err)
			}
		})
	}
}

func prompting(answers []string) Prompt {
	if answers == nil {
		return nil
	}
	return func(context.Context, string) (string, error) {
		if len(answers) == 0 {
			return "", errors.New("asked too often")
		}
		answer := answers[0]
		answers = answers[1:]
		return answer, nil
	}
}

// TestAgentGone: an agent may end between the opening of the key and the signing.
func TestAgentGone(t *testing.T) {
	k := newKeyring(t)
	startAgent(t, k.path("maker"))
	s, err := OpenSigner(t.Context(), k.path("mine.pub"), nil)
	must(t, err)
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(t.TempDir(), "gone"))
	if _, err = s.Sign(t.Context(), space, []byte(index)); manifest.KindOf(err) != manifest.KindPolicy || !strings.Contains(err.Error(), "ssh-agent: it is gone") {
		t.Error(err)
	}
}
