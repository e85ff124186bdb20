//go:build linux

package lab

import (
	"context"
	"fmt"
	"os/exec"
)

// HostOptions change how a host is set up. The zero value works.
type HostOptions struct {
	Engine   EngineOptions
	SSHD     SSHDOptions
	StateMiB int // size of a small file system for root's state (/var/lib) on the host; 0 means none
}

// A Host is what clara-push pushes to: an engine, and an SSH server whose sessions find it at the default socket.
type Host struct {
	*SSHD
	Engine *Engine

	lab *Lab
}

// Host starts an engine of the kind and an SSH server in front of it.
func (l *Lab) Host(ctx context.Context, k Kind, o HostOptions) (*Host, error) {
	if err := needRoot("a host"); err != nil {
		return nil, err
	}
	e, err := l.Engine(ctx, k, o.Engine)
	if err != nil {
		return nil, err
	}
	return l.HostOf(ctx, e, o)
}

// HostOf starts an SSH server in front of a running engine. One engine can have several.
func (l *Lab) HostOf(ctx context.Context, e *Engine, o HostOptions) (*Host, error) {
	o.SSHD.Socket = e.Socket
	o.SSHD.stateMiB = o.StateMiB
	s, err := l.SSHD(ctx, o.SSHD)
	if err != nil {
		return nil, err
	}
	return &Host{SSHD: s, Engine: e, lab: l}, nil
}

// Dest is the HOST argument for clara-push, to go with PushArgs.
func (h *Host) Dest() string { return "root@" + h.IP }

// SSH runs a command line in a session of root on the host and returns what it printed.
func (s *SSHD) SSH(ctx context.Context, command string) (string, error) {
	return s.SSHAs(ctx, s.user(), command)
}

// SSHAs is SSH for another user: clara or guest.
func (s *SSHD) SSHAs(ctx context.Context, user, command string) (string, error) {
	ssh, ok := findProgram("ssh")
	if !ok {
		return "", &Unavailable{Part: "ssh", Reason: "openssh-client is not installed"}
	}
	cmd := exec.CommandContext(ctx, ssh, "-F", s.Config, fmt.Sprintf("%s@%s", user, s.Name), "--", command)
	cmd.Env = []string{"PATH=" + systemPath}
	return output(cmd)
}
