// Package dial reaches a host over SSH the way ssh would: the same ssh_config, the same known_hosts, the same keys.
//
// It is for making and keeping connections: reading the configuration, checking host keys, logging in, going through
// jump hosts, noticing that a connection is dead. What is said over a connection is not its business, and it never
// retries: a caller that wants to go on after a lost connection calls Conn.Again.
//
// Read Options and Connect first, then Conn. A route (route.go) is the chain of hops to a host; what ssh_config says
// about one hop is in settings (config.go).
//
// Host keys are always checked and no option turns that off. "StrictHostKeyChecking no" is taken as accept-new.
package dial

import (
	"context"
	"time"
)

// Options say how to reach a host. The zero value asks ssh_config and ssh-agent, as ssh does, and never asks a person.
type Options struct {
	Identities      []string      // private key files offered first, as ssh -i
	Port            int           // as ssh -p; 0: ssh_config decides
	Jump            string        // as ssh -J; empty: ssh_config decides
	SSHOptions      []string      // Key=Value, as ssh -o
	ConfigFile      string        // as ssh -F; empty: the user's and the system's
	AcceptNew       bool          // record the key of a host that known_hosts does not know; a changed key is still refused
	HostFingerprint string        // "SHA256:…" that the host's key must have; known_hosts is then not needed
	ConnectTimeout  time.Duration // for each hop: connection, handshake and login; 0: ssh_config, else 30 s
	KeepAlive       time.Duration // between two keepalives, three unanswered end the connection; 0: ServerAliveInterval, else 5 s
	Prompt          Prompter      // asks for passphrases and passwords; nil: never ask
	Warn            func(string)  // is told each warning once, without a line end; may be nil
}

// A Prompter asks a person. Both methods return ctx's error when ctx ends first. Prompts are free of control characters.
type Prompter interface {
	// Secret asks for something that must not be shown while it is typed.
	Secret(ctx context.Context, prompt string) (string, error)
	// Line asks for one line, without its line end.
	Line(ctx context.Context, prompt string) (string, error)
}

const (
	defaultTimeout    = 30 * time.Second
	defaultKeepAlive  = 5 * time.Second
	defaultUnanswered = 3
)

// Connect connects to a host and logs in. The host is an alias of ssh_config or anything that ParseHost reads.
//
// Errors are *manifest.Failure: KindConnect (name, network, time-out), KindAuth, KindHostKey, KindUsage (what was
// asked or what ssh_config says makes no sense) and KindInterrupted when ctx was cancelled.
func Connect(ctx context.Context, host string, o Options) (*Conn, error) {
	r, err := plan(ctx, host, o)
	if err != nil {
		return nil, blame(ctx, host, err)
	}
	return r.dial(ctx)
}
