package dial

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// passwordServer is an SSH server made of x/crypto, because a real sshd compares passwords with those of the system's
// users, which a test must not change. Its user is "me"; it runs no commands and only answers to sessions with "hello".
func passwordServer(t *testing.T, config *ssh.ServerConfig) *server {
	t.Helper()
	s := &server{dir: t.TempDir(), user: "me", host: map[string]keyPair{}}
	s.client = newKey(t, s.dir, "id", "ed25519", "")
	s.host["ed25519"] = newKey(t, s.dir, "host", "ed25519", "")
	config.AddHostKey(s.host["ed25519"].signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	s.port = l.Addr().(*net.TCPAddr).Port
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c, config)
		}
	}()
	return s
}

func serve(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	_, chans, reqs, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	for nc := range chans {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range reqs {
				_ = r.Reply(r.Type == "exec", nil)
				if r.Type == "exec" {
					_, _ = io.WriteString(ch, "hello\n")
					_, _ = ch.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
					ch.Close()
				}
			}
		}()
	}
}

func byPassword(want string) *ssh.ServerConfig {
	return &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, got []byte) (*ssh.Permissions, error) {
		if string(got) != want {
			return nil, errors.New("no")
		}
		return nil, nil
	}}
}

func byQuestions(questions []string, echo []bool, want ...string) *ssh.ServerConfig {
	return &ssh.ServerConfig{KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		got, err := ask("", "Read\x1b[31m this.", questions, echo)
		if err != nil || !slices.Equal(got, want) {
			return nil, errors.New("no")
		}
		return nil, nil
	}}
}

func TestQuestions(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	questions := byQuestions([]string{"Password: ", "Code\x07: "}, []bool{false, true}, "secret", "123")
	for _, c := range []struct {
		name    string
		server  *ssh.ServerConfig
		config  string
		answers []string
		want    manifest.Kind
		asked   int
		prompt  string
	}{
		{name: "password", server: byPassword("secret"), answers: []string{"secret"}, asked: 1, prompt: "secret me@127.0.0.1's password: "},
		{name: "password, third time", server: byPassword("secret"), answers: []string{"a", "b", "secret"}, asked: 3},
		{name: "password, wrong", server: byPassword("secret"), answers: []string{"a", "b", "c", "secret"}, want: manifest.KindAuth, asked: 3},
		{name: "password, person gives up", server: byPassword("secret"), want: manifest.KindAuth, asked: 1},
		{name: "password switched off", server: byPassword("secret"), config: "PasswordAuthentication no", answers: []string{"secret"}, want: manifest.KindAuth},
		{name: "batch mode", server: byPassword("secret"), config: "BatchMode yes", answers: []string{"secret"}, want: manifest.KindAuth},
		{name: "questions", server: questions, answers: []string{"secret", "123"}, asked: 2, prompt: "secret (me@127.0.0.1) Read[31m this. Password: "},
		{name: "questions, wrong", server: questions, answers: []string{"a", "b", "a", "b", "a", "b"}, want: manifest.KindAuth, asked: 6},
		{name: "questions switched off", server: questions, config: "KbdInteractiveAuthentication no", answers: []string{"secret", "123"}, want: manifest.KindAuth},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := passwordServer(t, c.server)
			config, _ := s.setup(t, c.config, known(s.bracketed(), s.host["ed25519"]))
			person := &script{answers: c.answers}
			conn, err := logIn(t, "box", Options{ConfigFile: config, Prompt: person})
			checkKind(t, err, c.want)
			if len(person.asked) != c.asked || c.prompt != "" && person.asked[0] != c.prompt {
				t.Errorf("asked: %q", person.asked)
			}
			if err != nil {
				return
			}
			again, err := conn.Again(t.Context())
			must(t, err)
			run(t, again)
			again.Close()
			if len(person.asked) != c.asked {
				t.Errorf("asked again: %q", person.asked)
			}
		})
	}
	s := passwordServer(t, byPassword("secret"))
	config, _ := s.setup(t, "", known(s.bracketed(), s.host["ed25519"]))
	_, err := logIn(t, "box", Options{ConfigFile: config})
	checkKind(t, err, manifest.KindAuth)
}

// TestPasswordChanged is a further connection whose remembered answer is no longer right: it fails without a question.
func TestPasswordChanged(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	server := byPassword("secret")
	s := passwordServer(t, server)
	config, _ := s.setup(t, "", known(s.bracketed(), s.host["ed25519"]))
	person := &script{answers: []string{"secret", "other"}}
	conn, err := logIn(t, "box", Options{ConfigFile: config, Prompt: person})
	must(t, err)
	server.PasswordCallback = byPassword("other").PasswordCallback
	_, err = conn.Again(t.Context())
	checkKind(t, err, manifest.KindAuth)
	if len(person.asked) != 1 {
		t.Errorf("asked: %q", person.asked)
	}
}

func TestAskAboutUnknownHost(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519")
	fingerprint := ssh.FingerprintSHA256(s.host["ed25519"].signer.PublicKey())
	for _, c := range []struct {
		answers []string
		want    manifest.Kind
	}{
		{[]string{"yes"}, ""},
		{[]string{"perhaps", "", fingerprint}, ""},
		{[]string{"no"}, manifest.KindHostKey},
		{[]string{"y", "ok", "sure"}, manifest.KindHostKey},
		{[]string{"SHA256:AAAA", "no"}, manifest.KindHostKey},
	} {
		config, file := s.setup(t, "", "")
		person := &script{answers: c.answers}
		_, err := logIn(t, "box", Options{ConfigFile: config, Prompt: person})
		checkKind(t, err, c.want)
		if len(person.asked) == 0 || !strings.Contains(person.asked[0], fingerprint) {
			t.Errorf("asked: %q", person.asked)
		}
		text, _ := os.ReadFile(file)
		if recorded := strings.Contains(string(text), s.host["ed25519"].line()); recorded != (err == nil) {
			t.Errorf("known_hosts: %q", text)
		}
	}
	config, _ := s.setup(t, "StrictHostKeyChecking yes", "")
	person := &script{answers: []string{"yes"}}
	_, err := logIn(t, "box", Options{ConfigFile: config, Prompt: person})
	checkKind(t, err, manifest.KindHostKey)
	if len(person.asked) != 0 {
		t.Errorf("asked although StrictHostKeyChecking is yes: %q", person.asked)
	}
}

func TestSeveralMethodsInARow(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := passwordServer(t, &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{PasswordCallback: byPassword("secret").PasswordCallback}}
	}})
	config, _ := s.setup(t, "", known(s.bracketed(), s.host["ed25519"]))
	_, err := logIn(t, "box", Options{ConfigFile: config, Prompt: &script{answers: []string{"secret"}}})
	must(t, err)
	_, err = logIn(t, "box", Options{ConfigFile: config})
	checkKind(t, err, manifest.KindAuth)
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"a\x1b[2Jb\r\nc\td": "a[2Jb c d", "\u202eabc\u0007\x7f\u009b": "abc", "größe": "größe", "\xff": "",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := clean(strings.Repeat("ä", 5000)); len(got) > 1010 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestTerminalNeedsOne(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	must(t, err)
	defer f.Close()
	if p := NewTerminal(f, io.Discard); p != nil {
		t.Errorf("%v is a prompter", p)
	}
}
