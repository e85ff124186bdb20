//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// A host without an engine, or a user without the right to it, is refused with code 15 and advice.
func TestNoEngine(t *testing.T) {
	e, image := small(t)
	h := target(t, lab.ModernGraphdriver)
	bare, err := theLab(t).SSHD(t.Context(), lab.SSHDOptions{})
	lab.Skip(t, err)
	for _, n := range []struct {
		name string
		host *lab.Host
		user string
		args []string
		says []string
	}{
		{"no engine", &lab.Host{SSHD: bare}, "root", nil, []string{"docker.sock", "install"}},
		{"no right", h, "guest", nil, []string{"docker.sock", "usermod -aG docker"}},
		{"no such socket", h, "root", []string{"--host-engine", "unix:///run/other.sock"}, []string{"/run/other.sock"}},
		{"no right to the folder", h, "clara", []string{"--state-dir", "/var/lib/clara-push"}, []string{"/var/lib/clara-push", "--state-dir"}},
	} {
		t.Run(n.name, func(t *testing.T) {
			if n.host.Engine == nil {
				install(t, program(t), n.host)
			}
			c := newClient(t, e, n.host)
			c.User = n.user
			r := c.fails(15, append(n.args, image)...)
			r.says(t, n.says...)
			if r.Summary.Hint == "" {
				t.Error("no hint")
			}
			if r.Up > 64<<10 {
				t.Errorf("%d bytes travelled", r.Up)
			}
		})
	}
}

// A user who is not root but may use the engine pushes, with his state below his home.
func TestOtherUser(t *testing.T) {
	e, image := small(t)
	h := target(t, lab.ModernGraphdriver)
	removeAll(t, h.Engine, "small")
	c := newClient(t, e, h)
	c.User = "clara"
	r := c.pushed(image)
	arrived(t, c, image, image)
	if want := filepath.Join(h.Homes["clara"], ".local/state/clara-push"); !strings.HasPrefix(r.Summary.Receipt.Path, want) {
		t.Errorf("the receipt lies at %s, want it below %s", r.Summary.Receipt.Path, want)
	}
	removeAll(t, h.Engine, "small")
}

// A host that has no clara-push is sent one, once; it is private to the user.
func TestAgentIsBrought(t *testing.T) {
	e, image := small(t)
	h := newHostOf(t, target(t, lab.ModernGraphdriver).Engine, lab.HostOptions{})
	c := newClient(t, e, h)
	first := c.pushed(image)
	if first.Up < 1<<20 {
		t.Errorf("%d bytes travelled, too few for a program", first.Up)
	}
	found, err := filepath.Glob(filepath.Join(h.Home, ".cache/clara-push/*/*"))
	if err != nil || len(found) != 1 || filepath.Base(found[0]) != "clara-push" {
		t.Fatalf("in the agent's folder: %v, %v; want the program only", found, err)
	}
	if fi, err := os.Stat(found[0]); err != nil || fi.Mode().Perm() != 0o700 || fi.Size() >= 20e6 {
		t.Errorf("%v, %v: want mode 0700 and less than 20 MB", fi, err)
	}
	if second := c.pushed(image); second.Up > 64<<10 {
		t.Errorf("%d bytes travelled the second time", second.Up)
	}
	spoilt := found[0] + ".spoilt"
	if err := os.WriteFile(spoilt, make([]byte, 1000), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(spoilt, found[0]); err != nil {
		t.Fatal(err)
	}
	c.fails(15, image).says(t, "Exec format error", "damaged", "--agent")
}

// Without an engine here, and with none that answers, the message is about this machine.
func TestNoLocalEngine(t *testing.T) {
	c := newClient(t, nil, target(t, lab.ModernGraphdriver))
	r := c.fails(15, "engine://small:1")
	r.says(t, "/nonexistent/docker.sock")
	if r.Up != 0 {
		t.Errorf("%d bytes travelled", r.Up)
	}
}
