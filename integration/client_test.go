//go:build linux

package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/integration/link"
	"github.com/clara-push/clara-push/integration/meter"
)

// A client is a machine with clara-push, an empty home and a way to one host. The host is called "target" there, and is
// reached through a proxy that counts.
type client struct {
	t testing.TB

	Engine *lab.Engine // its local engine; nil: none
	Host   *lab.Host
	User   string // whom it logs in as; default root
	Home   string // its home; cache and configuration are below it
	Addr   string // where it finds the host's sshd; default a counting proxy
	Env    []string
	Limit  time.Duration // after which a run is killed and the test fails; default 2 minutes, 15 for full sizes

	proxy *link.Proxy
}

// newClient returns a client of host whose local engine is e; e may be nil.
func newClient(t testing.TB, e *lab.Engine, host *lab.Host) *client {
	t.Helper()
	c := &client{t: t, Engine: e, Host: host, User: "root", Home: t.TempDir(), Limit: 2 * time.Minute}
	if full() {
		c.Limit = 15 * time.Minute
	}
	c.proxy = newCounter(t, host.Addr)
	c.Addr = c.proxy.Addr
	return c
}

// push runs "clara-push image --json ARGS target" to its end and reads what it told.
func (c *client) push(args ...string) result {
	c.t.Helper()
	r := c.run(append(append([]string{"image", "--json"}, args...), "target")...)
	r.parse(c.t)
	return r
}

// pushed is push that must end with code 0.
func (c *client) pushed(args ...string) result {
	c.t.Helper()
	r := c.push(args...)
	if r.Exit != 0 {
		c.t.Fatalf("clara-push image %v ended with %d\n%s", args, r.Exit, r.Stderr)
	}
	return r
}

// fails is push that must end with this code and leave a summary which says so.
func (c *client) fails(code int, args ...string) result {
	c.t.Helper()
	r := c.push(args...)
	r.exits(c.t, code)
	if r.Summary.ExitCode != code || r.Summary.OK || r.Summary.Error == "" {
		c.t.Errorf("the summary of a push that ended with %d says %+v", code, r.Summary)
	}
	return r
}

// run runs clara-push to its end. The host to name is "target".
func (c *client) run(args ...string) result {
	c.t.Helper()
	return c.start(args...).wait()
}

// start starts clara-push.
func (c *client) start(args ...string) *running {
	c.t.Helper()
	r := &running{client: c, began: time.Now(), up: c.proxy.Up(), down: c.proxy.Down()}
	r.Cmd = exec.Command(program(c.t), c.withConfig(args)...)
	r.Cmd.Env = c.environ()
	r.Cmd.Dir = c.Home
	r.Cmd.Stdout, r.Cmd.Stderr = &r.stdout, &r.stderr
	r.Cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := r.Cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	r.memory = meter.WatchMemory(func() []int { return []int{r.Cmd.Process.Pid} })
	r.killer = time.AfterFunc(c.Limit, func() {
		r.late.Store(true)
		syscall.Kill(-r.Cmd.Process.Pid, syscall.SIGQUIT) // so that stderr says where it hung
		time.Sleep(time.Second)
		syscall.Kill(-r.Cmd.Process.Pid, syscall.SIGKILL)
	})
	return r
}

func (c *client) environ() []string {
	docker := "unix:///nonexistent/docker.sock"
	if c.Engine != nil {
		docker = c.Engine.Host()
	}
	env := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + c.Home, "LC_ALL=C.UTF-8", "DOCKER_HOST=" + docker,
		"CLARA_PUSH_LAB=" + theLab(c.t).Dir,
	}
	return append(env, c.Env...)
}

// withConfig adds the flag -F to a command that names the target, unless it has one.
func (c *client) withConfig(args []string) []string {
	if !slices.Contains(args, "target") || slices.Contains(args, "-F") {
		return args
	}
	return append([]string{args[0], "-F", c.sshConfig()}, args[1:]...)
}

// sshConfig writes an ssh_config in which "target" is the host at Addr, and returns its path.
func (c *client) sshConfig() string {
	c.t.Helper()
	known := c.write("known_hosts", c.knownHosts(c.Host.KnownHosts))
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.write("ssh_config", fmt.Sprintf(`Host target
  HostName %s
  Port %s
  User %s
  IdentityFile %s
  IdentitiesOnly yes
  UserKnownHostsFile %s
  GlobalKnownHostsFile /dev/null
`, host, port, c.User, c.Host.ClientKey, known))
}

// knownHosts returns a known_hosts file of the host for the address that the client uses.
func (c *client) knownHosts(file string) string {
	c.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(c.Addr)
	return strings.ReplaceAll(string(b), fmt.Sprintf("]:%d ", c.Host.Port), "]:"+port+" ")
}

// write writes a file in the client's home and returns its path.
func (c *client) write(name, text string) string {
	c.t.Helper()
	path := filepath.Join(c.Home, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// cache is where the client keeps layers read from its local engine.
func (c *client) cache() string { return filepath.Join(c.Home, ".cache", "clara-push") }
