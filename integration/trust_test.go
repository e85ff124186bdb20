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
	"time"

	"github.com/clara-push/clara-push/integration/lab"
)

// small is an image that every test of this file may push; it is built once.
func small(t testing.TB) (*lab.Engine, string) {
	t.Helper()
	e := source(t, lab.ModernGraphdriver)
	if idOf(t, e, "small:1") == "" {
		build(t, e, lab.ImageSpec{Name: "small:1", Base: lab.Layer{Size: 1 << 20, Seed: 600}})
	}
	return e, "small:1"
}

// configure writes an ssh_config for "target" with these lines first, and returns its path.
func (c *client) configure(lines ...string) string {
	c.t.Helper()
	b, err := os.ReadFile(c.sshConfig())
	if err != nil {
		c.t.Fatal(err)
	}
	return c.write("ssh_config_2", strings.Join(lines, "\n")+"\n"+string(b))
}

// A host whose key is not known for good gets nothing: not even our name.
func TestHostKeyRefused(t *testing.T) {
	e, image := small(t)
	h := newHostOf(t, target(t, lab.ModernGraphdriver).Engine, lab.HostOptions{})
	install(t, program(t), h)
	c := newClient(t, e, h)
	right := c.knownHosts(h.KnownHosts)
	other := strings.ReplaceAll(right, keyOf(t, h.HostKeys["ed25519"]), keyOf(t, anotherKey(t)))
	_, port, _ := net.SplitHostPort(c.Addr)
	revoked := fmt.Sprintf("@revoked * %s", keyOf(t, h.HostKeys["ed25519"]))
	for _, k := range []struct {
		name  string
		known string
		args  []string
		lines []string // of ssh_config
		says  []string
	}{
		{name: "unknown", says: []string{"--accept-new"}},
		{name: "unknown, strict", lines: []string{"StrictHostKeyChecking yes"}},
		{name: "known for another port", known: strings.ReplaceAll(right, "]:"+port, "]:22")},
		{name: "changed", known: other, says: []string{"changed"}},
		{name: "changed, --accept-new", known: other, args: []string{"--accept-new"}, says: []string{"changed"}},
		{name: "changed, not strict", known: other, lines: []string{"StrictHostKeyChecking no"}, says: []string{"changed"}},
		{name: "changed, the other kinds unknown", known: firstLine(other), args: []string{"--accept-new"}, says: []string{"changed"}},
		{name: "revoked", known: revoked + "\n" + onlyKind(right, "ssh-ed25519"), says: []string{"revoked"}},
		{name: "revoked, --accept-new", known: revoked + "\n" + onlyKind(right, "ssh-ed25519"), args: []string{"--accept-new"}, says: []string{"revoked"}},
		{name: "revoked in a file", known: onlyKind(right, "ssh-ed25519"), lines: []string{"RevokedHostKeys " + h.HostKeys["ed25519"]}, says: []string{"revoked"}},
		{name: "wrong fingerprint", known: right, args: []string{"--host-fingerprint", fingerprint(t, anotherKey(t))}, says: []string{fingerprint(t, h.HostKeys["ed25519"])}},
		{name: "a CA's own key", known: "@cert-authority " + onlyKind(right, "ssh-ed25519")},
	} {
		t.Run(k.name, func(t *testing.T) {
			c.t = t
			known := c.write("known_hosts_2", k.known)
			config := c.configure(append(k.lines, "UserKnownHostsFile "+known)...)
			before := logOf(t, h)
			r := c.fails(12, append(append([]string{"-F", config, "--as", "never:1"}, k.args...), image)...)
			r.says(t, k.says...)
			if r.Up > 8<<10 {
				t.Errorf("%d bytes were sent", r.Up)
			}
			said := strings.TrimPrefix(logOf(t, h), before)
			for _, word := range []string{"Accepted", "user", "USER", "userauth"} {
				if strings.Contains(said, word) {
					t.Errorf("the server learned more than it should: %s", said)
				}
			}
			if b, err := os.ReadFile(known); err != nil || string(b) != k.known {
				t.Errorf("known_hosts was changed: %q, %v", b, err)
			}
			if id := idOf(t, h.Engine, "never:1"); id != "" {
				t.Errorf("the host has %s", id)
			}
		})
	}
}

// There are three ways to trust a host without a line in known_hosts, and each one leaves the right trace.
func TestHostKeyAccepted(t *testing.T) {
	e, _ := small(t)
	h := target(t, lab.ModernGraphdriver)
	for _, k := range []struct {
		name  string
		args  []string
		lines []string
		says  []string
		added bool
	}{
		{name: "--accept-new", args: []string{"--accept-new"}, added: true},
		{name: "accept-new", lines: []string{"StrictHostKeyChecking accept-new"}, added: true},
		{name: "not strict", lines: []string{"StrictHostKeyChecking no"}, says: []string{"warning", "StrictHostKeyChecking"}, added: true},
		{name: "--host-fingerprint", args: []string{"--host-fingerprint", fingerprint(t, h.HostKeys["ed25519"])}},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := newClient(t, e, h)
			known := filepath.Join(c.Home, "new", "known_hosts")
			config := c.configure(append(k.lines, "UserKnownHostsFile "+known)...)
			r := c.run(append(append([]string{"check", "-F", config}, k.args...), "target")...)
			r.exits(t, 0)
			r.says(t, k.says...)
			b, err := os.ReadFile(known)
			if added := err == nil && strings.Count(string(b), "\n") == 1; added != k.added {
				t.Fatalf("known_hosts: %q, %v", b, err)
			}
			again := c.run("check", "-F", c.configure("StrictHostKeyChecking yes", "UserKnownHostsFile "+known), "target")
			if !k.added {
				again.exits(t, 12)
				return
			}
			again.exits(t, 0)
			if fi, err := os.Stat(known); err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("mode of known_hosts: %v, %v", fi, err)
			}
		})
	}
}

// A login that the host refuses is not tried again, and the message says which keys were offered.
func TestLoginRefused(t *testing.T) {
	e, image := small(t)
	h := target(t, lab.ModernGraphdriver)
	locked := filepath.Join(t.TempDir(), "locked")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", locked).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	for _, l := range []struct {
		name, user, key string
		says            string
	}{
		{"another key", "root", strings.TrimSuffix(anotherKey(t), ".pub"), ""},
		{"no such user", "nobody-of-that-name", h.ClientKey, "nobody-of-that-name"},
		{"no key", "root", "/nonexistent/key", "no key could be offered"},
		{"key with a passphrase", "root", locked, "passphrase"},
	} {
		t.Run(l.name, func(t *testing.T) {
			c := newClient(t, e, h)
			config := c.configure("User "+l.user, "IdentityAgent none")
			edit(t, config, func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), h.ClientKey, l.key)) })
			r := c.fails(11, "-F", config, image)
			r.says(t, l.says)
			if r.Summary.Hint == "" {
				t.Error("no hint")
			}
			if n := c.proxy.Conns(); n != 1 {
				t.Errorf("%d connections, want one", n)
			}
		})
	}
}

// Without an SSH server there, a push ends soon and says where it knocked.
func TestNoServer(t *testing.T) {
	e, image := small(t)
	h := target(t, lab.ModernGraphdriver)
	c := newClient(t, e, h)
	for _, s := range []struct{ name, addr, says string }{
		{"nobody listens", closedPort(t), "refused"},
		{"nobody speaks", deaf(t, ""), ""},
		{"another protocol", deaf(t, "220 mail.example.com ESMTP\r\n"), ""},
	} {
		t.Run(s.name, func(t *testing.T) {
			c.t, c.Addr = t, s.addr
			r := c.fails(10, "-F", c.configure("ConnectTimeout 2"), image)
			r.says(t, s.says)
			if r.Took > 20*time.Second {
				t.Errorf("took %v", r.Took)
			}
		})
	}
	t.Run("no such name", func(t *testing.T) {
		c.t = t
		r := c.run("image", "--json", image, "no-such-host.invalid")
		r.parse(t)
		r.exits(t, 10)
		r.says(t, "no-such-host.invalid")
	})
}

func keyOf(t testing.TB, public string) string {
	t.Helper()
	b, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b))
	return f[0] + " " + f[1]
}

// anotherKey makes a key and returns the file of its public half.
func anotherKey(t testing.TB) string {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	if err := lab.MakeKey(key, "ed25519"); err != nil {
		t.Fatal(err)
	}
	return key + ".pub"
}

func fingerprint(t testing.TB, public string) string {
	t.Helper()
	out, err := exec.Command("ssh-keygen", "-l", "-f", public).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))[1]
}

func firstLine(s string) string {
	l, _, _ := strings.Cut(s, "\n")
	return l + "\n"
}

// onlyKind keeps the lines of a known_hosts file with one kind of key.
func onlyKind(known, kind string) string {
	var kept string
	for l := range strings.Lines(known) {
		if strings.Contains(l, " "+kind+" ") {
			kept += l
		}
	}
	return kept
}

func logOf(t testing.TB, h *lab.Host) string {
	t.Helper()
	b, err := os.ReadFile(h.Log())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func closedPort(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// deaf is a server that greets with a text and never says anything else.
func deaf(t testing.TB, greeting string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			c.Write([]byte(greeting))
		}
	}()
	return ln.Addr().String()
}
