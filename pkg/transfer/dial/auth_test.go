package dial

import (
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/sshkey"
)

// A script stands in for a person: it answers in order and notes what it was asked.
type script struct {
	answers []string
	asked   []string
}

func (s *script) Secret(_ context.Context, prompt string) (string, error) {
	return s.next("secret " + prompt)
}
func (s *script) Line(_ context.Context, prompt string) (string, error) {
	return s.next("line " + prompt)
}

func (s *script) next(prompt string) (string, error) {
	s.asked = append(s.asked, prompt)
	if len(s.answers) == 0 {
		return "", errors.New("nothing more to say")
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	return a, nil
}

// startAgent serves an agent with these keys and returns its socket.
func startAgent(t *testing.T, keys ...agent.AddedKey) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		must(t, ring.Add(k))
	}
	dir, err := os.MkdirTemp("", "agent") // t.TempDir may be too long for a socket
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _ = agent.ServeAgent(ring, c) }()
		}
	}()
	return socket
}

func strangers(n int) (keys []agent.AddedKey) {
	for i := range n {
		keys = append(keys, agent.AddedKey{PrivateKey: rawKey("ed25519", 1000+i), Comment: "stranger"})
	}
	return keys
}

func (s *server) clientKey(t *testing.T) crypto.PrivateKey {
	data, err := os.ReadFile(s.client.path)
	must(t, err)
	key, err := ssh.ParseRawPrivateKey(data)
	must(t, err)
	return key
}

func TestKeysAsSSH(t *testing.T) {
	s := startSSHD(t, "ed25519")
	must(t, os.Chmod(s.client.path, 0o600))
	dir := t.TempDir()
	full := startAgent(t, append(strangers(7), agent.AddedKey{PrivateKey: s.clientKey(t)})...)
	seven := startAgent(t, strangers(7)...)
	named := startAgent(t, agent.AddedKey{PrivateKey: s.clientKey(t)})
	onlyPublic := filepath.Join(dir, "public.pub")
	write(t, onlyPublic, s.client.line()+"\n")
	open := writeKey(t, dir, "open", s.clientKey(t), "")
	must(t, os.Chmod(open.path, 0o644))
	rsa := newKey(t, dir, "rsa", "rsa", "")
	write(t, filepath.Join(s.dir, "authorized_keys"), s.client.line()+"\n"+rsa.line()+"\n")
	other := newKey(t, dir, "other", "ed25519", "")
	for _, c := range []struct {
		name, config, agent string
		want                manifest.Kind
		differ              string
	}{
		{name: "file", config: "IdentityFile " + s.client.path},
		{name: "rsa file", config: "IdentityFile " + rsa.path},
		{name: "second file", config: "IdentityFile " + other.path + "\nIdentityFile " + s.client.path},
		{name: "no such file", config: "IdentityFile /nonexistent/id", want: manifest.KindAuth},
		{name: "other file", config: "IdentityFile " + other.path, want: manifest.KindAuth},
		{name: "file others may read", config: "IdentityFile " + open.path, want: manifest.KindAuth},
		{name: "agent", agent: startAgent(t, agent.AddedKey{PrivateKey: s.clientKey(t)})},
		{name: "rsa in agent", agent: startAgent(t, agent.AddedKey{PrivateKey: rawKeyOf(t, rsa)})},
		{name: "eighth in agent", agent: full, want: manifest.KindAuth},
		{name: "eighth in agent, IdentitiesOnly with public file", agent: full, config: "IdentitiesOnly yes\nIdentityFile " + onlyPublic},
		{name: "eighth in agent, IdentitiesOnly", agent: full, config: "IdentitiesOnly yes\nIdentityFile " + s.client.path},
		{name: "seven in agent, file", agent: seven, config: "IdentityFile " + s.client.path, differ: "ssh offers all of the agent's keys before a file"},
		{name: "seven in agent, file, IdentitiesOnly", agent: seven, config: "IdentitiesOnly yes\nIdentityFile " + s.client.path},
		{name: "agent switched off", agent: full, config: "IdentityAgent none\nIdentityFile " + s.client.path},
		{name: "agent named by a variable", config: "IdentityAgent $DIAL_TEST_AGENT\nIdentityFile none"},
		{name: "agent gone", agent: "/nonexistent/agent", config: "IdentityFile " + s.client.path},
		{name: "no public keys", config: "PubkeyAuthentication no\nIdentityFile " + s.client.path, want: manifest.KindAuth},
		{name: "kind not accepted", config: "PubkeyAcceptedAlgorithms rsa-sha2-512\nIdentityFile " + s.client.path, want: manifest.KindAuth},
		{name: "kind accepted", config: "PubkeyAcceptedAlgorithms rsa-sha2-512\nIdentityFile " + rsa.path},
		{name: "wrong user", config: "User nobody-like-this\nIdentityFile " + s.client.path, want: manifest.KindAuth},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("SSH_AUTH_SOCK", c.agent)
			t.Setenv("DIAL_TEST_AGENT", named)
			config, _ := s.setup(t, "", known(s.bracketed(), s.host["ed25519"]))
			text, _ := os.ReadFile(config)
			write(t, config, c.config+"\n"+strings.NewReplacer(" IdentityFile "+s.client.path, " IdentityFile /nonexistent/x", " IdentityAgent none\n", "").Replace(string(text)))
			want := c.want == ""
			if _, err := exec.LookPath("ssh"); err != nil {
				t.Log("not compared: there is no ssh on this machine")
			} else if ok, said := sshSays(t, config, "box"); ok != (want != (c.differ != "")) {
				t.Errorf("ssh logs in: %v, and we expect %v\n%s", ok, want, said)
			}
			conn, err := connect(t, "box", Options{ConfigFile: config, Warn: func(w string) { t.Log(w) }})
			checkKind(t, err, c.want)
			if err == nil {
				again, err := conn.Again(t.Context())
				must(t, err)
				again.Close()
			}
		})
	}
}

func rawKeyOf(t *testing.T, k keyPair) crypto.PrivateKey {
	data, err := os.ReadFile(k.path)
	must(t, err)
	key, err := ssh.ParseRawPrivateKey(data)
	must(t, err)
	return key
}

func TestUserCertificatesAsSSH(t *testing.T) {
	dir := t.TempDir()
	ca := newKey(t, dir, "ca", "ecdsa", "")
	write(t, filepath.Join(dir, "ca.keys"), ca.line()+"\n")
	s := startSSHD(t, "ed25519", "TrustedUserCAKeys "+filepath.Join(dir, "ca.keys"))
	beside := newKey(t, dir, "beside", "ed25519", "")
	certify(t, beside, ca, ssh.UserCert, s.user)
	rsa := newKey(t, dir, "rsa", "rsa", "")
	certify(t, rsa, ca, ssh.UserCert, s.user)
	apart := newKey(t, dir, "apart", "ed25519", "")
	certify(t, apart, ca, ssh.UserCert, s.user)
	cert := filepath.Join(dir, "moved.pub")
	must(t, os.Rename(apart.path+"-cert.pub", cert))
	wrong := newKey(t, dir, "wrong", "ed25519", "")
	certify(t, wrong, ca, ssh.UserCert, "somebody-else")
	inAgent := startAgent(t, append(strangers(4), agent.AddedKey{PrivateKey: rawKeyOf(t, apart)})...)
	certInAgent := startAgent(t, agent.AddedKey{PrivateKey: rawKeyOf(t, beside), Certificate: sshkey.ReadPublic(beside.path + "-cert.pub").(*ssh.Certificate)})
	for _, c := range []struct {
		name, config, agent string
		want                manifest.Kind
	}{
		{name: "beside the key", config: "IdentityFile " + beside.path},
		{name: "rsa", config: "IdentityFile " + rsa.path},
		{name: "CertificateFile", config: "IdentityFile " + apart.path + "\nCertificateFile " + cert},
		{name: "CertificateFile, key in agent", config: "CertificateFile " + cert, agent: inAgent},
		{name: "CertificateFile, key in agent, IdentitiesOnly", config: "IdentitiesOnly yes\nIdentityFile " + apart.path + ".pub\nCertificateFile " + cert, agent: inAgent},
		{name: "certificate in agent", agent: certInAgent},
		{name: "certificate for another user", config: "IdentityFile " + wrong.path, want: manifest.KindAuth},
		{name: "key without its certificate", config: "IdentityFile " + apart.path, want: manifest.KindAuth},
		{name: "certificate without its key", config: "CertificateFile " + cert, want: manifest.KindAuth},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("SSH_AUTH_SOCK", c.agent)
			config, _ := s.setup(t, "", known(s.bracketed(), s.host["ed25519"]))
			text, _ := os.ReadFile(config)
			write(t, config, c.config+"\n"+strings.NewReplacer(s.client.path, "/nonexistent/x", " IdentityAgent none\n", "").Replace(string(text)))
			if _, err := exec.LookPath("ssh"); err != nil {
				t.Log("not compared: there is no ssh on this machine")
			} else if ok, said := sshSays(t, config, "box"); ok != (c.want == "") {
				t.Errorf("ssh logs in: %v\n%s", ok, said)
			}
			_, err := connect(t, "box", Options{ConfigFile: config, Warn: func(w string) { t.Log(w) }})
			checkKind(t, err, c.want)
		})
	}
}

func TestPassphrase(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519")
	dir := t.TempDir()
	locked := writeKey(t, dir, "locked", s.clientKey(t), "open sesame")
	stranger := newKey(t, dir, "stranger", "ed25519", "never asked")
	config, _ := s.setup(t, "", known(s.bracketed(), s.host["ed25519"]))
	text, _ := os.ReadFile(config)
	write(t, config, strings.Replace(string(text), "IdentityFile "+s.client.path, "IdentityFile "+stranger.path+"\n IdentityFile "+locked.path, 1))

	person := &script{answers: []string{"wrong", "open sesame"}}
	c, err := logIn(t, "box", Options{ConfigFile: config, Prompt: person})
	must(t, err)
	if len(person.asked) != 2 || !strings.Contains(person.asked[0], locked.path) {
		t.Errorf("asked: %q", person.asked)
	}
	again, err := c.Again(t.Context())
	must(t, err)
	run(t, again)
	again.Close()
	if len(person.asked) != 2 {
		t.Errorf("asked again: %q", person.asked)
	}

	_, err = logIn(t, "box", Options{ConfigFile: config, Prompt: &script{answers: []string{""}}})
	checkKind(t, err, manifest.KindAuth)
	_, err = logIn(t, "box", Options{ConfigFile: config})
	checkKind(t, err, manifest.KindAuth)
	wants(t, err, locked.path+" needs a passphrase")

	// A key that the person cannot unlock does not hide the one after it.
	write(t, config, strings.Replace(string(text), "IdentityFile "+s.client.path, "IdentityFile "+locked.path+"\n IdentityFile "+s.client.path, 1))
	must(t, os.WriteFile(filepath.Join(s.dir, "authorized_keys"), []byte(s.client.line()+"\n"), 0o600))
	second := newKey(t, dir, "second", "ed25519", "")
	must(t, os.WriteFile(filepath.Join(s.dir, "authorized_keys"), []byte(s.client.line()+"\n"+second.line()+"\n"), 0o600))
	write(t, config, strings.Replace(string(text), "IdentityFile "+s.client.path, "IdentityFile "+locked.path+"\n IdentityFile "+second.path, 1))
	_, err = logIn(t, "box", Options{ConfigFile: config, Prompt: &script{answers: []string{"a", "b", "c"}}})
	must(t, err)
}

// TestKeysOnlyTheAgentCanUse has key files as ssh-keygen writes them that x/crypto cannot read.
func TestKeysOnlyTheAgentCanUse(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("there is no ssh-keygen on this machine")
	}
	s := startSSHD(t, "ed25519")
	dir := t.TempDir()
	gcm := filepath.Join(dir, "gcm")
	if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-Z", "aes256-gcm@openssh.com", "-N", "secret", "-f", gcm).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pkcs8 := filepath.Join(dir, "pkcs8")
	write(t, pkcs8, string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{0x30, 0}})))
	write(t, pkcs8+".pub", s.client.line()+"\n")
	for _, agentKeys := range [][]agent.AddedKey{nil, {{PrivateKey: s.clientKey(t)}}} {
		t.Setenv("SSH_AUTH_SOCK", startAgent(t, agentKeys...))
		config, _ := s.setup(t, "", known(s.bracketed(), s.host["ed25519"]))
		text, _ := os.ReadFile(config)
		write(t, config, strings.NewReplacer("IdentityFile "+s.client.path, "IdentitiesOnly yes\n IdentityFile "+gcm+"\n IdentityFile "+pkcs8, " IdentityAgent none\n", "").Replace(string(text)))
		_, err := logIn(t, "box", Options{ConfigFile: config, Prompt: &script{}})
		if agentKeys == nil {
			checkKind(t, err, manifest.KindAuth)
			wants(t, err, gcm, "aes256-gcm", pkcs8)
			if !strings.Contains(err.(*manifest.Failure).Hint, "ssh-agent") {
				t.Errorf("hint %q", err.(*manifest.Failure).Hint)
			}
			continue
		}
		must(t, err)
	}
}
