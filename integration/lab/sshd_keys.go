//go:build linux

package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func (s *SSHD) keyKinds() []string {
	if len(s.opts.HostKeys) > 0 {
		return s.opts.HostKeys
	}
	return []string{"ed25519", "ecdsa", "rsa"}
}

func (s *SSHD) hostKey(kind string) string { return filepath.Join(s.Dir, "host_"+kind) }

// makeKeys makes the host keys, the client's key and the known_hosts file that fits.
func (s *SSHD) makeKeys() error {
	s.HostKeys = map[string]string{}
	for _, kind := range s.keyKinds() {
		if err := MakeKey(s.hostKey(kind), kind); err != nil {
			return err
		}
		s.HostKeys[kind] = s.hostKey(kind) + ".pub"
	}
	s.ClientKey = filepath.Join(s.Dir, "client")
	if err := MakeKey(s.ClientKey, "ed25519"); err != nil {
		return err
	}
	pub, err := os.ReadFile(s.ClientKey + ".pub")
	if err != nil {
		return err
	}
	line := strings.TrimSpace(s.opts.KeyOptions + " " + string(pub))
	return os.WriteFile(filepath.Join(s.Dir, "authorized_keys"), []byte(line+"\n"), 0o644)
}

// MakeKey makes an OpenSSH key without a passphrase: file and file.pub. Kind is ed25519, ecdsa or rsa (2048 bits).
func MakeKey(file, kind string) error {
	argv := []string{"ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "clara-push-lab", "-f", file}
	if kind == "rsa" {
		argv = append(argv, "-b", "2048")
	}
	return run(argv...)
}

// KnownHostsLine returns the line of a known_hosts file for one kind of host key, with the host as ssh writes it.
func (s *SSHD) KnownHostsLine(kind string) (string, error) {
	pub, err := os.ReadFile(s.HostKeys[kind])
	if err != nil {
		return "", err
	}
	f := strings.Fields(string(pub))
	return fmt.Sprintf("[%s]:%d %s %s\n", s.IP, s.Port, f[0], f[1]), nil
}

// writeClientFiles writes known_hosts and the file for "ssh -F".
func (s *SSHD) writeClientFiles() error {
	var known strings.Builder
	for _, kind := range s.keyKinds() {
		line, err := s.KnownHostsLine(kind)
		if err != nil {
			return err
		}
		known.WriteString(line)
	}
	s.KnownHosts = filepath.Join(s.Dir, "known_hosts")
	if err := os.WriteFile(s.KnownHosts, []byte(known.String()), 0o600); err != nil {
		return err
	}
	s.Config = filepath.Join(s.Dir, "ssh_config")
	text := fmt.Sprintf(`Host %s
  HostName %s
  Port %d
  User %s
Host *
  IdentityFile %s
  IdentitiesOnly yes
  UserKnownHostsFile %s
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
`, s.Name, s.IP, s.Port, s.user(), s.ClientKey, s.KnownHosts)
	return os.WriteFile(s.Config, []byte(text), 0o600)
}

func sftpServer() string {
	for _, p := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return "internal-sftp"
}

// penalizes tells whether this sshd slows down sources of failed logins (since OpenSSH 9.8): our failures are meant.
func penalizes(sshd string) bool {
	out, _ := exec.Command(sshd, "-V").CombinedOutput() // older ones do not know -V, and print their version all the same
	_, v, ok := bytes.Cut(out, []byte("OpenSSH_"))
	var major, minor int
	if !ok {
		return false
	}
	if _, err := fmt.Sscanf(string(v), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 9 || major == 9 && minor >= 8
}
