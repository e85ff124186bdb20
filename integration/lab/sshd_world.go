//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// The world of an SSH server: a mount namespace in which the user database, /run and /var/lib are the lab's. So "~", the
// default socket and /var/lib/clara-push are private, as on a host of its own.

// account is a user of that world.
type account struct {
	name     string
	uid, gid int
	home     string
	docker   bool // member of the group that owns the engine's socket
}

func (s *SSHD) accounts() []account {
	home := func(n string) string { return filepath.Join(s.Dir, "home", n) }
	return []account{
		{"root", 0, 0, home("root"), false},
		{"clara", 64118, 64118, home("clara"), true},
		{"guest", 64119, 64119, home("guest"), false},
	}
}

func isRoot() bool { return os.Geteuid() == 0 }

// user is whom the ssh_config of the server logs in.
func (s *SSHD) user() string {
	if isRoot() {
		return "root"
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}

// makeWorld makes the private folders and user database.
func (s *SSHD) makeWorld() error {
	s.Run, s.VarLib, s.Bin = filepath.Join(s.Dir, "run"), filepath.Join(s.Dir, "varlib"), filepath.Join(s.Dir, "bin")
	etc := filepath.Join(s.Dir, "etc")
	for _, d := range []string{s.Run, filepath.Join(s.Run, "sshd"), s.VarLib, s.Bin, etc, filepath.Join(s.Dir, "home")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if s.opts.stateMiB > 0 {
		if err := s.lab.SmallFS(s.VarLib, s.opts.stateMiB); err != nil {
			return err
		}
	}
	if err := s.makeHomes(); err != nil {
		return err
	}
	if s.opts.Socket != "" {
		if err := os.Symlink(s.opts.Socket, filepath.Join(s.Run, "docker.sock")); err != nil {
			return err
		}
	}
	if s.opts.Sudo {
		if _, ok := findProgram("sudo"); !ok {
			return &Unavailable{Part: "sudo", Reason: "it is not installed"}
		}
	}
	return s.writeUsers(etc)
}

func (s *SSHD) makeHomes() error {
	s.Homes = map[string]string{}
	for _, a := range s.accounts() {
		if err := os.Mkdir(a.home, 0o700); err != nil {
			return err
		}
		if isRoot() {
			if err := os.Chown(a.home, a.uid, a.gid); err != nil {
				return err
			}
		}
		s.Homes[a.name] = a.home
	}
	s.Home = s.Homes["root"]
	return nil
}

// writeUsers writes the machine's user database with our users in front: of two lines with one name the first counts.
func (s *SSHD) writeUsers(etc string) error {
	var passwd, shadow, group strings.Builder
	members := "root"
	for _, a := range s.accounts() {
		fmt.Fprintf(&passwd, "%s:x:%d:%d::%s:/bin/sh\n", a.name, a.uid, a.gid, a.home)
		fmt.Fprintf(&shadow, "%s:*:19000:0:99999:7:::\n", a.name)
		fmt.Fprintf(&group, "%s:x:%d:\n", a.name, a.gid)
		if a.docker {
			members += "," + a.name
		}
	}
	fmt.Fprintf(&group, "docker:x:%d:%s\n", DockerGID, members)
	err := errors.Join(
		prepend(filepath.Join(etc, "passwd"), passwd.String(), "/etc/passwd", 0o644),
		prepend(filepath.Join(etc, "shadow"), shadow.String(), "/etc/shadow", 0o600),
		prepend(filepath.Join(etc, "group"), group.String(), "/etc/group", 0o644))
	if s.opts.Sudo {
		err = errors.Join(err, os.WriteFile(filepath.Join(etc, "sudoers"), []byte("root ALL=(ALL) ALL\nclara ALL=(ALL) NOPASSWD: ALL\n"), 0o440))
	}
	return err
}

// prepend writes head and then the lines of the machine's file whose names head does not define.
func prepend(to, head, from string, mode os.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil && !os.IsNotExist(err) && isRoot() {
		return err
	}
	text := head
	for line := range strings.Lines(string(b)) {
		name, _, _ := strings.Cut(line, ":")
		if !strings.HasPrefix(head, name+":") && !strings.Contains(head, "\n"+name+":") {
			text += line
		}
	}
	return os.WriteFile(to, []byte(text), mode)
}

// enterWorld returns the words before sshd that put it into the world. The shell replaces itself, so the process ID is
// that of sshd in the end.
func (s *SSHD) enterWorld() []string {
	if !isRoot() {
		return nil
	}
	script := `set -e; d=$1; shift
for f in passwd shadow group; do mount --bind "$d/etc/$f" "/etc/$f"; done
[ ! -e "$d/etc/sudoers" ] || mount --bind "$d/etc/sudoers" /etc/sudoers
mount --rbind "$d/varlib" /var/lib
mount --rbind "$d/run" /run
exec "$@"`
	return []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", s.Dir}
}

// sftpStart makes SFTP begin in the private home when the user database cannot.
func (s *SSHD) sftpStart() string {
	if isRoot() {
		return ""
	}
	return " -d " + s.Home
}

// sessionEnv is the environment of sessions, in the syntax of SetEnv: sshd reads one such line only.
func (s *SSHD) sessionEnv() string {
	env := map[string]string{
		marker: s.lab.Dir,
		"PATH": s.Bin + ":" + systemPath,
	}
	if !isRoot() {
		env["HOME"] = s.Home
		if s.opts.Socket != "" {
			env["DOCKER_HOST"] = "unix://" + s.opts.Socket
		}
	}
	for k, v := range s.opts.Env {
		env[k] = v
	}
	var words []string
	for k, v := range env {
		words = append(words, fmt.Sprintf(`"%s=%s"`, k, v))
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}
