package dial

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// TestRoutesAsSSH reaches one server in the ways that ssh_config knows, through two others.
func TestRoutesAsSSH(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	inner, outer, closed := startSSHD(t, "ed25519"), startSSHD(t, "ecdsa"), startSSHD(t, "rsa", "AllowTcpForwarding no")
	for _, s := range []*server{outer, closed} {
		write(t, filepath.Join(s.dir, "authorized_keys"), inner.client.line()+"\n")
	}
	all := known(inner.bracketed(), inner.host["ed25519"]) + known(outer.bracketed(), outer.host["ecdsa"]) + known(closed.bracketed(), closed.host["rsa"])
	noOuter := known(inner.bracketed(), inner.host["ed25519"])
	noInner := known(outer.bracketed(), outer.host["ecdsa"])
	hosts := fmt.Sprintf("Host outer\n HostName 127.0.0.1\n Port %d\nHost closed\n HostName 127.0.0.1\n Port %d\n", outer.port, closed.port)
	mark := filepath.Join(t.TempDir(), "mark")
	relay := relayCommand(t)
	for _, c := range []struct {
		name, config, known string
		options             Options
		args                []string
		host                string
		want                manifest.Kind
		direct              bool
		needsSSH            bool
	}{
		{name: "direct", known: all, direct: true},
		{name: "ProxyJump", config: "Host box\n ProxyJump outer\n", known: all},
		{name: "-J", options: Options{Jump: fmt.Sprintf("%s@127.0.0.1:%d", outer.user, outer.port)}, args: []string{"-J", fmt.Sprintf("%s@127.0.0.1:%d", outer.user, outer.port)}, known: all},
		{name: "two in a list", config: "Host box\n ProxyJump outer,self\nHost self\n HostName localhost\n Port " + fmt.Sprint(inner.port) + "\n HostKeyAlias " + inner.bracketedAlias() + "\n",
			known: all + known(inner.bracketedAlias(), inner.host["ed25519"])},
		{name: "two by configuration", config: "Host box\n ProxyJump self\nHost self\n ProxyJump outer\n HostName localhost\n Port " + fmt.Sprint(inner.port) + "\n HostKeyAlias " + inner.bracketedAlias() + "\n",
			known: all + known(inner.bracketedAlias(), inner.host["ed25519"])},
		{name: "one address twice", config: "Host box\n ProxyJump also\nHost also\n HostName 127.0.0.1\n Port " + fmt.Sprint(inner.port) + "\n", known: all},
		{name: "jump host unknown", config: "Host box\n ProxyJump outer\n", known: noOuter, want: manifest.KindHostKey},
		{name: "host behind unknown", config: "Host box\n ProxyJump outer\n", known: noInner, want: manifest.KindHostKey},
		{name: "wrong user on jump host", config: "Host box\n ProxyJump nobody-like-this@outer\n", known: all, want: manifest.KindAuth},
		{name: "jump host does not forward", config: "Host box\n ProxyJump closed\n", known: all, want: manifest.KindConnect},
		{name: "nothing behind", config: "Host box\n ProxyJump outer\n Port 1\n", known: all, want: manifest.KindConnect},
		{name: "ProxyCommand", config: "Host box\n ProxyCommand " + relay + " %h %p\n", known: all},
		{name: "ProxyCommand with quotes and pipes", config: "Host box\n ProxyCommand /bin/sh -c '" + relay + " \"$0\" %p' %h 2>/dev/null\n", known: all},
		{name: "ProxyCommand, name and user", config: "Host box\n ProxyCommand /bin/sh -c 'echo \"%n %r %%\" > " + mark + "; exec " + relay + " %h %p'\n", known: all},
		{name: "ProxyCommand fails", config: "Host box\n ProxyCommand /bin/sh -c 'echo no such road >&2; exit 3'\n", known: all, want: manifest.KindConnect},
		{name: "jump host by ProxyCommand", config: "Host box\n ProxyJump outer\nHost outer\n ProxyCommand " + relay + " %h %p\n", known: all},
		{name: "broken line, hashes, brackets, Include, Match exec", needsSSH: true, direct: true,
			config: "Include DIR/more\nMatch exec \"test %h = 127.0.0.1\"\n Port " + fmt.Sprint(inner.port) + "\nHost box\n Port 1\n", known: "broken line\n" + all},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, _ := inner.setup(t, "", c.known)
			write(t, filepath.Join(filepath.Dir(config), "more"), "Host box\n HostName 127.0.0.1\n")
			text, _ := os.ReadFile(config)
			write(t, config, strings.ReplaceAll(c.config, "DIR", filepath.Dir(config))+"\n"+hosts+"\n"+string(text))
			if _, err := exec.LookPath("ssh"); err != nil {
				t.Log("not compared: there is no ssh on this machine")
			} else if ok, said := sshSays(t, config, "box", c.args...); ok != (c.want == "") {
				t.Errorf("ssh logs in: %v\n%s", ok, said)
			}
			o := c.options
			o.ConfigFile, o.Warn = config, func(w string) { t.Log(w) }
			conn, err := logIn(t, "box", o)
			checkKind(t, err, c.want)
			if err == nil && (conn.TCP() != nil) != c.direct {
				t.Errorf("TCP is %v", conn.TCP())
			}
			if err == nil && !c.direct {
				again, err := conn.Again(t.Context())
				must(t, err)
				must(t, again.Close())
				run(t, conn)
			}
			if !c.needsSSH && c.options.Jump == "" {
				withoutSSH(t)
				_, err := connect(t, "box", o)
				checkKind(t, err, c.want)
			}
		})
	}
	if text, _ := os.ReadFile(mark); string(text) != "box "+inner.user+" %\n" {
		t.Errorf("ProxyCommand saw %q", text)
	}
}

func (s *server) bracketedAlias() string { return fmt.Sprintf("alias-%d", s.port) }

// relayCommand returns the words of a command that connects its input and output with a host and port: this test
// program itself, so that no netcat is needed.
func relayCommand(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	script := filepath.Join(t.TempDir(), "relay")
	write(t, script, "#!/bin/sh\nDIAL_TEST_RELAY=\"$1:$2\" exec "+self+"\n")
	must(t, os.Chmod(script, 0o700))
	return script
}

func TestJumpFailureNamesTheHop(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	inner, outer := startSSHD(t, "ed25519"), startSSHD(t, "ecdsa")
	config, _ := inner.setup(t, fmt.Sprintf("Host outer\n HostName 127.0.0.1\n Port %d\nHost box\n ProxyJump outer\n", outer.port), "")
	_, err := logIn(t, "box", Options{ConfigFile: config})
	checkKind(t, err, manifest.KindHostKey)
	wants(t, err, "box: ", "jump host outer: ")
}

// TestAcceptNewOnTheWay records the keys of all hops.
func TestAcceptNewOnTheWay(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	inner, outer := startSSHD(t, "ed25519"), startSSHD(t, "ecdsa")
	write(t, filepath.Join(outer.dir, "authorized_keys"), inner.client.line()+"\n")
	config, file := inner.setup(t, fmt.Sprintf("Host outer\n HostName 127.0.0.1\n Port %d\nHost box\n ProxyJump outer\n", outer.port), "")
	_, err := logIn(t, "box", Options{ConfigFile: config, AcceptNew: true})
	must(t, err)
	text, _ := os.ReadFile(file)
	for _, line := range []string{known(inner.bracketed(), inner.host["ed25519"]), known(outer.bracketed(), outer.host["ecdsa"])} {
		if !strings.Contains(string(text), line) {
			t.Errorf("%q is not in %q", line, text)
		}
	}
}
