package main

import (
	"time"

	"github.com/spf13/pflag"
)

// connection is how to reach a host and how to run there; the same flags for every command that names a HOST.
type connection struct {
	identities  []string
	port        int
	jump        string
	config      string
	sshOptions  []string
	acceptNew   bool
	fingerprint string

	agent, agentDir      string
	sudo                 bool
	hostEngine, stateDir string

	// Set by commands that place models.
	repository string // folder of models; empty: no models
	modelsOnly bool   // no engine is needed
	anyEngine  bool   // an engine is used if there is one
	look       bool   // nothing is asked but what was placed

	lockTimeout, timeout time.Duration
	limitRate            rate
}

// sections are the flags of every command that names a HOST.
func (c *connection) sections() []section {
	return []section{{"Connection", c.addSSHFlags}, {"On the host", c.addHostFlags}}
}

func (c *connection) addSSHFlags(f *pflag.FlagSet) {
	f.StringArrayVarP(&c.identities, "identity", "i", nil, "private key `file`, as ssh -i; may be repeated")
	f.IntVarP(&c.port, "port", "p", 0, "port, as ssh -p")
	f.StringVarP(&c.jump, "jump", "J", "", "jump `hosts`, as ssh -J")
	f.StringVarP(&c.config, "ssh-config", "F", "", "ssh_config `file`, as ssh -F")
	f.StringArrayVar(&c.sshOptions, "ssh-option", nil, "`Key=Value`, as ssh -o; may be repeated")
	f.BoolVar(&c.acceptNew, "accept-new", false, "record the key of a host that known_hosts does not know; a changed key is still refused")
	f.StringVar(&c.fingerprint, "host-fingerprint", "", "`fingerprint` SHA256:... that the host's key must have; known_hosts is then not needed")
	f.DurationVar(&c.timeout, "timeout", 0, "give up after this time in all; 0: never")
}

func (c *connection) addHostFlags(f *pflag.FlagSet) {
	f.StringVar(&c.hostEngine, "host-engine", "", "`address` of the engine, such as unix:///run/user/1000/docker.sock (default: as the docker command finds it)")
	f.BoolVar(&c.sudo, "sudo", false, "run the agent through sudo -n")
	f.StringVar(&c.agent, "agent", "", "`file` on this machine, a clara-push for the host's platform, to use as agent")
	f.StringVar(&c.agentDir, "agent-dir", "", "`folder` to put the agent into, where the home folder is mounted noexec (default ~/.cache/clara-push)")
	f.StringVar(&c.stateDir, "state-dir", "", "`folder` for staged bytes and receipts (default /var/lib/clara-push for root, else ~/.local/state/clara-push)")
	f.DurationVar(&c.lockTimeout, "lock-timeout", 10*time.Minute, "how long to wait for another push to the same engine; 0: fail at once")
}
