//go:build linux

package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// A user's own files, as they grow over the years: a known_hosts with broken lines, hashed names, a bracketed port and
// only one kind of key; an ssh_config with Include and Match exec. clara-push connects to what ssh connects to.
func TestConnectsAsSSH(t *testing.T) {
	e := target(t, lab.ModernGraphdriver).Engine
	first, second := newHostOf(t, e, lab.HostOptions{}), newHostOf(t, e, lab.HostOptions{})
	install(t, program(t), first)
	install(t, program(t), second)
	c := newClient(t, nil, first)
	other := newCounter(t, second.Addr)
	c.write("known_hosts", grown(t, c, first, c.proxy.Addr)+grown(t, c, second, other.Addr))
	flag := filepath.Join(c.Home, "at the office")
	config := grownConfig(t, c, first, second, other.Addr, flag)

	connects := func(name string, to string) {
		t.Run(name, func(t *testing.T) {
			c.t = t
			for _, program := range []string{"ssh", "clara-push"} {
				a, b := c.proxy.Up(), other.Up()
				if program == "ssh" {
					cmd := exec.Command("ssh", "-F", config, "target", "true")
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Fatalf("ssh: %v: %s", err, out)
					}
				} else {
					r := c.run("check", "-F", config, "target")
					r.exits(t, 0)
					r.says(t, "known_hosts:2,") // the broken lines
				}
				went := map[bool]string{true: "first"}[c.proxy.Up() > a] + map[bool]string{true: "second"}[other.Up() > b]
				if went != to {
					t.Errorf("%s went to %q, want %q", program, went, to)
				}
			}
		})
	}
	connects("without the flag", "first")
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	connects("with the flag", "second")
}

// grown returns known_hosts lines for a host at an address: hashed, for its ed25519 key only, after lines that are broken.
func grown(t *testing.T, c *client, h *lab.Host, addr string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	plain := c.write("plain", fmt.Sprintf("[%s]:%s %s\n", host, port, keyOf(t, h.HostKeys["ed25519"])))
	if out, err := exec.Command("ssh-keygen", "-q", "-H", "-f", plain).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen -H: %v: %s", err, out)
	}
	b, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(b), "|1|") {
		t.Fatalf("not hashed: %s", b)
	}
	return "# a comment\nthis line is broken\n|1|neither|this ssh-ed25519 AAAA\n\n" +
		"example.com ssh-ed25519 not/base64!\nexample.org ssh-unheard-of AAAAC3NzaC1lZDI1NTE5AAAAIA==\n" + string(b)
}

// grownConfig writes an ssh_config that includes another, which by a command chooses one of two hosts.
func grownConfig(t *testing.T, c *client, first, second *lab.Host, addr, flag string) string {
	t.Helper()
	_, firstPort, _ := net.SplitHostPort(c.Addr)
	_, secondPort, _ := net.SplitHostPort(addr)
	if err := os.Mkdir(filepath.Join(c.Home, "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.write("conf.d/work.conf", fmt.Sprintf("Match originalhost target exec \"test -e '%s'\"\n  Port %s\n  IdentityFile %s\nHost target\n  Port %s\n  IdentityFile %s\n",
		flag, secondPort, second.ClientKey, firstPort, first.ClientKey))
	return c.write("ssh_config", fmt.Sprintf(`Include %s/conf.d/*.conf
Host other
  HostName other.example.com
Host tar*
  HostName 127.0.0.1
  User root
  IdentitiesOnly yes
  IdentityAgent none
  BatchMode yes
Match final
  UserKnownHostsFile %s/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
`, c.Home, c.Home))
}
