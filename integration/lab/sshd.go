//go:build linux

package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/clara-push/clara-push/integration/link"
)

// SSHDOptions change how an SSH server is set up. The zero value works.
type SSHDOptions struct {
	HostKeys   []string          // kinds of host keys; default ed25519, ecdsa and rsa
	Config     []string          // more lines of sshd_config; they win over the lab's own. "Match" lines go to the end
	KeyOptions string            // options of the client's key in authorized_keys: `restrict,command="…"`
	Env        map[string]string // environment of the sessions
	Socket     string            // engine socket that sessions find as /var/run/docker.sock; default none
	Sudo       bool              // let clara use "sudo -n"; needs sudo on this machine
	Namespace  *link.Namespace   // network namespace to listen in, on its address; default this machine's loopback

	stateMiB int // size of a small file system at /var/lib; set by Host
}

// An SSHD is a running OpenSSH server on a loopback port.
//
// Its sessions see this machine with other users: root, clara (in the group of the engine's socket) and guest (not in
// it), each with an empty home, all with the same client key. /run and /var/lib are private and empty too. Without root,
// sessions belong to the user who runs the lab, and only the home is private.
type SSHD struct {
	Name       string // unique in its lab, and the alias in Config
	Dir        string // its folder
	Addr       string // IP:PORT, the IP being 127.0.0.1 or that of the namespace
	IP         string
	Port       int
	Home       string            // root's home, seen from outside
	Homes      map[string]string // of each user
	Run        string            // what sessions see as /run
	VarLib     string            // what sessions see as /var/lib
	Bin        string            // first folder in the PATH of sessions, empty
	HostKeys   map[string]string // public key files by kind
	ClientKey  string            // private key file that is let in; beside it KEY.pub
	KnownHosts string            // a known_hosts file with all host keys
	Config     string            // for "ssh -F": then the host is called Name

	lab  *Lab
	opts SSHDOptions
	proc *process
}

// SSHD starts an SSH server and waits until it answers.
func (l *Lab) SSHD(ctx context.Context, o SSHDOptions) (*SSHD, error) {
	program, err := findSSHD()
	if err != nil {
		return nil, err
	}
	dir, name, err := l.folder("sshd")
	if err != nil {
		return nil, err
	}
	s := &SSHD{Name: name, Dir: dir, lab: l, opts: o}
	if s.IP, s.Port, err = o.listenOn(); err != nil {
		return nil, err
	}
	s.Addr = net.JoinHostPort(s.IP, strconv.Itoa(s.Port))
	for _, step := range []func() error{s.makeWorld, s.makeKeys, s.writeClientFiles, func() error { return s.writeConfig(program) }} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("set up %s: %w", name, err)
		}
	}
	l.onClose(s.Stop)
	return s, s.Start(ctx)
}

// Start starts a stopped server on the same port with the same keys.
func (s *SSHD) Start(ctx context.Context) (err error) {
	program, err := findSSHD()
	if err != nil {
		return err
	}
	argv := s.enterWorld()
	if s.opts.Namespace != nil {
		argv = append(s.opts.Namespace.Words(), argv...)
	}
	argv = append(argv, program, "-D", "-e", "-f", filepath.Join(s.Dir, "sshd_config"))
	if s.proc, err = s.lab.start(s.Name, []string{"PATH=" + systemPath}, argv...); err != nil {
		return err
	}
	if err := s.proc.await(20*time.Second, s.greets); err != nil {
		return err
	}
	// The connections that asked for the greeting should not be taken for a client's.
	for end := time.Now().Add(3 * time.Second); len(s.Connections()) > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	s.lab.Logf("%s: ready, pid %d, address %s", s.Name, s.PID(), s.Addr)
	return ctx.Err()
}

// Stop ends the server, its connections and whatever runs in their sessions. Stopping twice is no error.
func (s *SSHD) Stop() error {
	if !s.proc.alive() {
		return nil
	}
	children := s.Children()
	err := s.proc.stop(5 * time.Second)
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return err
}

// StopListening ends the listener only: connections live on, new ones are refused.
func (s *SSHD) StopListening() error { return s.proc.stop(5 * time.Second) }

// PID returns the process ID of the listener.
func (s *SSHD) PID() int { return s.proc.pid() }

// Log returns the path of the server's log.
func (s *SSHD) Log() string { return s.proc.log }

// Connections returns the process IDs of the sshd processes that hold one client's connection each, in ascending order.
// Killing one cuts that connection and leaves what its sessions run.
func (s *SSHD) Connections() []int {
	all := processes()
	var pids []int
	for pid, parent := range all {
		if parent != s.PID() {
			continue
		}
		// For users other than root the listener's child only watches; its own child talks to the network.
		for child, of := range all {
			if of == pid && strings.HasPrefix(commandLine(child), "sshd") {
				pid = child
				break
			}
		}
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids
}

// Children returns the process IDs of everything below the listener: the connections' sshd, the shells, what they run.
func (s *SSHD) Children() []int { return descendants(processes(), s.PID())[1:] }

// SSHArgs returns the arguments for ssh, scp or sftp that select the client's key and known_hosts. The host to name is
// Name, or USER@Name.
func (s *SSHD) SSHArgs() []string { return []string{"-F", s.Config} }

// PushArgs returns the arguments for clara-push to reach the server. The host to name is IP.
func (s *SSHD) PushArgs() []string {
	return []string{"-p", strconv.Itoa(s.Port), "-i", s.ClientKey,
		"--ssh-option", "UserKnownHostsFile=" + s.KnownHosts, "--ssh-option", "GlobalKnownHostsFile=/dev/null",
		"--ssh-option", "IdentitiesOnly=yes"}
}

// PushArgsVia is PushArgs through a proxy on another port of this machine: the server keeps the name under which its
// keys are known.
func (s *SSHD) PushArgsVia(port int) []string {
	args := s.PushArgs()
	args[1] = strconv.Itoa(port)
	return append(args, "--ssh-option", fmt.Sprintf("HostKeyAlias=[%s]:%d", s.IP, s.Port))
}

// greets returns nil once the server sends its version.
func (s *SSHD) greets() error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * time.Second))
	greeting := make([]byte, 4)
	if _, err := io.ReadFull(c, greeting); err != nil || string(greeting) != "SSH-" {
		return fmt.Errorf("no greeting: %q %w", greeting, err)
	}
	return nil
}

// dial connects to the server from where it listens.
func (s *SSHD) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.opts.Namespace != nil {
		return s.opts.Namespace.Dial(ctx, s.Addr)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", s.Addr)
}

// listenOn chooses the address of the server. A namespace is its own, so any port is free.
func (o SSHDOptions) listenOn() (ip string, port int, err error) {
	if o.Namespace != nil {
		return o.Namespace.Addr, 2222, nil
	}
	port, err = freePort()
	return "127.0.0.1", port, err
}

// freePort returns a loopback port that nobody listens on now.
func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

func findSSHD() (string, error) {
	p, ok := findProgram("sshd")
	if !ok {
		return "", &Unavailable{Part: "sshd", Reason: "openssh-server is not installed: run scripts/install-lab.sh"}
	}
	if _, ok := findProgram("ssh-keygen"); !ok {
		return "", &Unavailable{Part: "sshd", Reason: "openssh-client is not installed: run scripts/install-lab.sh"}
	}
	return p, nil
}

// writeConfig writes sshd_config. The first value of a keyword wins, so what the caller wants stands first.
func (s *SSHD) writeConfig(program string) error {
	first, last := s.opts.Config, []string(nil)
	if i := slices.IndexFunc(first, func(l string) bool { return strings.HasPrefix(strings.TrimSpace(l), "Match ") }); i >= 0 {
		first, last = first[:i], first[i:]
	}
	lines := append(slices.Clone(first),
		"ListenAddress "+s.Addr, "PidFile none", "UsePAM no", "UseDNS no", "LogLevel VERBOSE",
		"PermitRootLogin yes", "PubkeyAuthentication yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"AuthorizedKeysFile "+filepath.Join(s.Dir, "authorized_keys"),
		"StrictModes no", // the folder lies below /tmp, which everybody may write
		"MaxStartups 100:30:200", "PrintMotd no", "PrintLastLog no",
		"Subsystem sftp "+sftpServer()+s.sftpStart(),
		"SetEnv "+s.sessionEnv(),
	)
	if penalizes(program) {
		lines = append(lines, "PerSourcePenalties no")
	}
	for _, kind := range s.keyKinds() {
		lines = append(lines, "HostKey "+s.hostKey(kind))
	}
	text := strings.Join(append(lines, last...), "\n") + "\n"
	return os.WriteFile(filepath.Join(s.Dir, "sshd_config"), []byte(text), 0o644)
}
