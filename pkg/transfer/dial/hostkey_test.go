package dial

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A knownCase is one situation of known_hosts. The real ssh decides it as well, and has to agree.
type knownCase struct {
	name   string
	known  func(s *server, other keyPair) string
	config string // more lines for ssh_config
	want   manifest.Kind
	differ string // why ssh decides otherwise
}

func plainCases() []knownCase {
	hash := func(name string) string { return knownhosts.HashHostname(name) }
	return []knownCase{
		{name: "ed25519 of three", known: func(s *server, _ keyPair) string { return known(s.bracketed(), s.host["ed25519"]) }},
		{name: "ecdsa of three", known: func(s *server, _ keyPair) string { return known(s.bracketed(), s.host["ecdsa"]) }},
		{name: "rsa of three", known: func(s *server, _ keyPair) string { return known(s.bracketed(), s.host["rsa"]) }},
		{name: "hashed", known: func(s *server, _ keyPair) string { return known(hash(s.bracketed()), s.host["ecdsa"]) }},
		{name: "hashed without port", known: func(s *server, _ keyPair) string { return known(hash("127.0.0.1"), s.host["ed25519"]) }},
		{name: "without port", known: func(s *server, _ keyPair) string { return known("127.0.0.1", s.host["ed25519"]) }},
		{name: "without port, rsa of three", known: func(s *server, _ keyPair) string { return known("127.0.0.1", s.host["rsa"]) },
			differ: "ssh counts this line but does not ask the server for this kind of key"},
		{name: "without port, other key", known: func(_ *server, o keyPair) string { return known("127.0.0.1", o) }, want: manifest.KindHostKey},
		{name: "with port other key, without port right key", want: manifest.KindHostKey,
			known: func(s *server, o keyPair) string {
				return known(s.bracketed(), o) + known("127.0.0.1", s.host["ed25519"])
			}},
		{name: "other port", known: func(s *server, _ keyPair) string { return known("[127.0.0.1]:1", s.host["ed25519"]) }, want: manifest.KindHostKey},
		{name: "capitals", config: "Host box\n HostName LocalHost", known: func(s *server, _ keyPair) string {
			return known(fmt.Sprintf("[LOCALhost]:%d", s.port), s.host["ed25519"])
		}},
		{name: "hashed, capitals asked", config: "Host box\n HostName LocalHost", known: func(s *server, _ keyPair) string {
			return known(hash(fmt.Sprintf("[localhost]:%d", s.port)), s.host["ed25519"])
		}},
		{name: "star", known: func(s *server, _ keyPair) string { return known("*", s.host["ed25519"]) }},
		{name: "pattern with port", known: func(s *server, _ keyPair) string {
			return known(fmt.Sprintf("[127.?.0.*]:%d", s.port), s.host["ed25519"])
		}},
		{name: "pattern without port", known: func(s *server, _ keyPair) string { return known("127.*", s.host["ed25519"]) }},
		{name: "negated", want: manifest.KindHostKey, known: func(s *server, _ keyPair) string {
			return known("!"+s.bracketed()+",!127.0.0.1,*", s.host["ed25519"])
		}},
		{name: "negated without port only", known: func(s *server, _ keyPair) string { return known("!127.0.0.1,*", s.host["ed25519"]) }},
		{name: "list", known: func(s *server, _ keyPair) string { return known("elsewhere,"+s.bracketed()+",more", s.host["ed25519"]) }},
		{name: "old and new key", known: func(s *server, o keyPair) string {
			return known(s.bracketed(), o) + known(s.bracketed(), s.host["ed25519"])
		}},
		{name: "broken lines", known: func(s *server, o keyPair) string {
			return "what is this\n" + s.bracketed() + " ssh-ed25519 AAAA!!!\n@unknown * " + o.line() + "\n\xff\xfe\n" + s.bracketed() + "\n" +
				s.bracketed() + " ssh-new-kind " + strings.Fields(o.line())[1] + "\n# a comment\n\n" + strings.Repeat("x", 100_000) + "\n  " + known(s.bracketed(), s.host["ed25519"])
		}},
		{name: "no line end, carriage return", known: func(s *server, _ keyPair) string {
			return "# x\r\n" + strings.TrimSpace(known(s.bracketed(), s.host["ed25519"])) + "\r"
		}},
		{name: "unknown", known: func(*server, keyPair) string { return "" }, want: manifest.KindHostKey},
		{name: "unknown, strict", config: "StrictHostKeyChecking yes", known: func(*server, keyPair) string { return "" }, want: manifest.KindHostKey},
		{name: "unknown, accept-new", config: "StrictHostKeyChecking accept-new", known: func(*server, keyPair) string { return "" }},
		{name: "unknown, no checking", config: "StrictHostKeyChecking no", known: func(*server, keyPair) string { return "" }},
		{name: "changed", known: func(s *server, o keyPair) string { return known(s.bracketed(), o) }, want: manifest.KindHostKey},
		{name: "changed, accept-new", config: "StrictHostKeyChecking accept-new", known: func(s *server, o keyPair) string { return known(s.bracketed(), o) }, want: manifest.KindHostKey},
		{name: "changed, no checking", config: "StrictHostKeyChecking no", known: func(s *server, o keyPair) string { return known(s.bracketed(), o) }, want: manifest.KindHostKey,
			differ: "ssh goes on with a changed key when nothing secret is asked for"},
		{name: "alias", config: "HostKeyAlias Some-Name", known: func(s *server, _ keyPair) string { return known("some-name", s.host["ed25519"]) }},
		{name: "alias, known by its name only", config: "HostKeyAlias some-name", known: func(s *server, _ keyPair) string {
			return known(s.bracketed(), s.host["ed25519"]) + known("127.0.0.1", s.host["ed25519"])
		}, want: manifest.KindHostKey},
		{name: "alias with port", config: "HostKeyAlias some-name", known: func(s *server, _ keyPair) string {
			return known(fmt.Sprintf("[some-name]:%d", s.port), s.host["ed25519"])
		}, want: manifest.KindHostKey},
		{name: "revoked", known: func(s *server, _ keyPair) string {
			return known(s.bracketed(), s.host["ed25519"]) + "@revoked * " + s.host["ed25519"].line() + "\n"
		}, want: manifest.KindHostKey},
		{name: "revoked, accept-new", config: "StrictHostKeyChecking accept-new", known: func(s *server, _ keyPair) string {
			return "@revoked * " + s.host["ed25519"].line() + "\n@revoked * " + s.host["rsa"].line() + "\n@revoked * " + s.host["ecdsa"].line() + "\n"
		}, want: manifest.KindHostKey},
		{name: "revoked for another host", known: func(s *server, _ keyPair) string {
			return known(s.bracketed(), s.host["ed25519"]) + "@revoked elsewhere " + s.host["ed25519"].line() + "\n"
		}},
		{name: "authority's own key as host key", known: func(s *server, _ keyPair) string {
			return "@cert-authority * " + s.host["ed25519"].line() + "\n"
		}, want: manifest.KindHostKey},
		{name: "second file", config: "UserKnownHostsFile /nonexistent/known_hosts KNOWN", known: func(s *server, _ keyPair) string { return known(s.bracketed(), s.host["rsa"]) }},
		{name: "global file", config: "UserKnownHostsFile none\nGlobalKnownHostsFile KNOWN", known: func(s *server, _ keyPair) string { return known(s.bracketed(), s.host["rsa"]) }},
		{name: "accept-new to nowhere", config: "UserKnownHostsFile /dev/null\nStrictHostKeyChecking accept-new", known: func(*server, keyPair) string { return "" }},
		{name: "accept-new to none", config: "UserKnownHostsFile none\nStrictHostKeyChecking accept-new", known: func(*server, keyPair) string { return "" },
			differ: "ssh accepts no new key when it has no file for it, only /dev/null"},
		{name: "revoked keys file", config: "RevokedHostKeys KNOWN.keys", known: func(s *server, _ keyPair) string { return known(s.bracketed(), s.host["ed25519"]) }, want: manifest.KindHostKey},
		{name: "revoked keys file, binary", config: "RevokedHostKeys KRLS/host", known: func(s *server, _ keyPair) string { return known(s.bracketed(), s.host["ed25519"]) }, want: manifest.KindHostKey},
		{name: "revoked keys file, binary, of another key", config: "RevokedHostKeys KRLS/other", known: func(s *server, _ keyPair) string { return known(s.bracketed(), s.host["ed25519"]) }},
		{name: "revoked keys file missing", config: "RevokedHostKeys /nonexistent/keys", known: func(s *server, _ keyPair) string { return known(s.bracketed(), s.host["ed25519"]) }, want: manifest.KindHostKey},
	}
}

func TestKnownHostsAsSSH(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519 ecdsa rsa")
	runKnownCases(t, s, plainCases())
}

func certCases(ca keyPair) []knownCase {
	authority := func(pattern string) string { return "@cert-authority " + pattern + " " + ca.line() + "\n" }
	return []knownCase{
		{name: "authority", known: func(*server, keyPair) string { return authority("*") }},
		{name: "authority without port", known: func(*server, keyPair) string { return authority("127.0.0.1") }},
		{name: "authority with port", known: func(s *server, _ keyPair) string { return authority(s.bracketed()) }},
		{name: "authority of another host", known: func(*server, keyPair) string { return authority("elsewhere") }, want: manifest.KindHostKey},
		{name: "another authority", known: func(_ *server, o keyPair) string { return "@cert-authority * " + o.line() + "\n" }, want: manifest.KindHostKey},
		{name: "name not in certificate", config: "Host box\n HostName localhost", known: func(*server, keyPair) string { return authority("*") }, want: manifest.KindHostKey},
		{name: "name not in certificate, alias is", config: "Host box\n HostName localhost\n HostKeyAlias 127.0.0.1", known: func(*server, keyPair) string { return authority("*") }},
		{name: "plain key known", known: func(s *server, _ keyPair) string { return known(s.bracketed(), s.host["ed25519"]) }},
		{name: "plain key known, another authority", known: func(s *server, o keyPair) string {
			return "@cert-authority * " + o.line() + "\n" + known(s.bracketed(), s.host["ed25519"])
		}},
		{name: "authority without port, other key with port", known: func(s *server, o keyPair) string { return authority("127.0.0.1") + known(s.bracketed(), o) }},
		{name: "authority revoked", known: func(*server, keyPair) string { return authority("*") + "@revoked * " + ca.line() + "\n" }, want: manifest.KindHostKey},
		{name: "key in certificate revoked", known: func(s *server, _ keyPair) string {
			return authority("*") + "@revoked * " + s.host["ed25519"].line() + "\n"
		}, want: manifest.KindHostKey},
		{name: "authority as plain key", known: func(s *server, _ keyPair) string { return known(s.bracketed(), ca) }, want: manifest.KindHostKey},
	}
}

func TestHostCertificatesAsSSH(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	dir := t.TempDir()
	ca := newKey(t, dir, "ca", "ecdsa", "")
	host := writeKey(t, dir, "host", rawKey("ed25519", -1), "")
	certify(t, host, ca, ssh.HostCert, "127.0.0.1")
	s := startSSHD(t, "ed25519", "HostCertificate "+host.path+"-cert.pub")
	runKnownCases(t, s, certCases(ca))
}

// runKnownCases asks for each case the real ssh, then us with its configuration, then, where the configuration matters, us
// without an ssh binary.
func runKnownCases(t *testing.T, s *server, cases []knownCase) {
	realSSH, err := exec.LookPath("ssh")
	other := newKey(t, t.TempDir(), "other", "ed25519", "")
	lists := revocationLists(t, map[string]keyPair{"host": s.host["ed25519"], "other": other})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			try := func() string {
				config, file := s.setup(t, "", c.known(s, other))
				text, _ := os.ReadFile(config)
				write(t, file+".keys", s.host["ed25519"].line()+"\n")
				write(t, config, strings.NewReplacer("KNOWN", file, "KRLS", lists).Replace(c.config)+"\n"+string(text))
				return config
			}
			want := c.want == ""
			if err != nil {
				t.Log("not compared: there is no ssh on this machine")
			} else if ok, said := sshSays(t, try(), "box"); ok != (want != (c.differ != "")) {
				t.Errorf("%s logs in: %v, and we expect %v\n%s", realSSH, ok, want, said)
			}
			_, err := connect(t, "box", Options{ConfigFile: try(), Warn: func(w string) { t.Log(w) }})
			checkKind(t, err, c.want)
			if c.config != "" {
				withoutSSH(t)
				_, err = connect(t, "box", Options{ConfigFile: try()})
				checkKind(t, err, c.want)
			}
		})
	}
}

// checkKind fails when an error is not of this kind; "" is no error.
func checkKind(t *testing.T, err error, want manifest.Kind) {
	t.Helper()
	if got := manifest.KindOf(err); got != want {
		t.Errorf("kind %q, want %q: %v", got, want, err)
	}
	if err != nil {
		f := err.(*manifest.Failure)
		if f.Host == "" || f.Step == "" || f.Hint == "" && want != manifest.KindUsage {
			t.Errorf("failure without host, step or hint: %#v", f)
		}
		t.Logf("%v\n\t→ %s", f, f.Hint)
	}
}

// revocationLists makes a folder with a binary list for each key.
func revocationLists(t *testing.T, keys map[string]keyPair) string {
	dir := t.TempDir()
	for name, key := range keys {
		list := filepath.Join(dir, name)
		write(t, list+".keys", key.line()+"\n")
		if out, err := exec.Command("ssh-keygen", "-q", "-k", "-f", list, list+".keys").CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen -k: %v\n%s", err, out)
		}
	}
	return dir
}

func TestAcceptNewRecordsOneLine(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519 rsa")
	for _, hash := range []string{"no", "yes"} {
		config, file := s.setup(t, "HashKnownHosts "+hash, "")
		must(t, os.Remove(file))
		folder := filepath.Join(filepath.Dir(file), "sub", "deep")
		file = filepath.Join(folder, "known_hosts")
		o := Options{ConfigFile: config, AcceptNew: true, SSHOptions: []string{"UserKnownHostsFile=" + file}}
		_, err := logIn(t, "box", Options{ConfigFile: config, SSHOptions: append(o.SSHOptions, "User=nobody-like-this"), AcceptNew: true})
		checkKind(t, err, manifest.KindAuth)
		if exists(file) {
			t.Error("the key was recorded though the login failed")
		}
		for range 2 {
			_, err = logIn(t, "box", o)
			must(t, err)
		}
		text, err := os.ReadFile(file)
		must(t, err)
		if n := strings.Count(string(text), "\n"); n != 1 {
			t.Errorf("%d lines: %q", n, text)
		}
		if plain := strings.HasPrefix(string(text), s.bracketed()+" "); plain != (hash == "no") {
			t.Errorf("hashed %s: %q", hash, text)
		}
		checkMode(t, file, 0o600)
		checkMode(t, folder, 0o700)
		if ok, said := sshSays(t, config, "box", "-o", "UserKnownHostsFile="+file, "-o", "StrictHostKeyChecking=yes"); !ok {
			t.Errorf("ssh does not take our line %q: %s", text, said)
		}
	}
}

func checkMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != want {
		t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
	}
}

func TestAppendLineAfterUnfinishedLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	write(t, file, "old")
	must(t, appendLine(file, "new\n"))
	must(t, appendLine(file, "more\n"))
	if text, _ := os.ReadFile(file); string(text) != "old\nnew\nmore\n" {
		t.Errorf("%q", text)
	}
}

func TestFingerprint(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519 ecdsa rsa")
	other := newKey(t, t.TempDir(), "other", "ed25519", "")
	pin := func(k keyPair) string { return ssh.FingerprintSHA256(k.signer.PublicKey()) }
	for _, c := range []struct {
		name, known, pin string
		want             manifest.Kind
	}{
		{"ed25519", "", pin(s.host["ed25519"]), ""},
		{"ecdsa", "", pin(s.host["ecdsa"]), ""},
		{"rsa, padded", "", pin(s.host["rsa"]) + "=", ""},
		{"another key", "", pin(other), manifest.KindHostKey},
		{"another key, the shown one is known", known(s.bracketed(), s.host["ed25519"]), pin(other), manifest.KindHostKey},
		{"revoked", "@revoked * " + s.host["rsa"].line() + "\n", pin(s.host["rsa"]), manifest.KindHostKey},
		{"known_hosts has another", known(s.bracketed(), other), pin(s.host["ed25519"]), ""},
		{"no fingerprint", "", "MD5:00:11", manifest.KindUsage},
		{"cut short", "", pin(other)[:20], manifest.KindUsage},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, file := s.setup(t, "", c.known)
			conn, err := logIn(t, "box", Options{ConfigFile: config, HostFingerprint: c.pin})
			checkKind(t, err, c.want)
			if err == nil {
				again, err := conn.Again(t.Context())
				must(t, err)
				again.Close()
			}
			if text, _ := os.ReadFile(file); string(text) != c.known {
				t.Errorf("known_hosts was changed: %q", text)
			}
		})
	}
}

func TestHostKeyMessages(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519")
	other := newKey(t, t.TempDir(), "other", "ed25519", "")
	now, old := ssh.FingerprintSHA256(s.host["ed25519"].signer.PublicKey()), ssh.FingerprintSHA256(other.signer.PublicKey())
	config, file := s.setup(t, "", "# first line\n"+known(s.bracketed(), other))
	_, err := logIn(t, "box", Options{ConfigFile: config})
	wants(t, err, now, old, file+":2")
	config, _ = s.setup(t, "", "")
	_, err = logIn(t, "box", Options{ConfigFile: config})
	wants(t, err, now)
	if f := err.(*manifest.Failure); !strings.Contains(f.Hint, "--host-fingerprint "+now) {
		t.Errorf("the hint does not say how to accept the key: %s", f.Hint)
	}
	var warnings []string
	config, file = s.setup(t, "", "x\ny\n"+known(s.bracketed(), s.host["ed25519"]))
	_, err = logIn(t, "box", Options{ConfigFile: config, Warn: func(w string) { warnings = append(warnings, w) }})
	must(t, err)
	if !slices.ContainsFunc(warnings, func(w string) bool { return strings.HasPrefix(w, file+":1,2: ") }) {
		t.Errorf("no warning names the broken lines: %q", warnings)
	}
}

func wants(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
}
