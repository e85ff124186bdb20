package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A connectError is an error from before the first byte of SSH.
type connectError struct{ err error }

func (e *connectError) Error() string { return e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// blame makes any error a Failure on the host that the user has named. The caller's own end goes before other reasons.
func blame(ctx context.Context, host string, err error) error {
	switch cause := ctx.Err(); {
	case errors.Is(cause, context.DeadlineExceeded):
		err = manifest.Fail(manifest.KindConnect, "connect", "timed out: %w", context.Cause(ctx))
	case cause != nil:
		err = manifest.Fail(manifest.KindInterrupted, "connect", "interrupted: %w", context.Cause(ctx))
	}
	return manifest.On(host, err)
}

// explain makes a Failure of what went wrong at one hop.
func (h *hop) explain(l *login, timeout time.Duration, spent bool, err error) error {
	f := h.reason(l, timeout, spent, err)
	if !h.last && f.Kind != manifest.KindUsage {
		f = &manifest.Failure{Kind: f.Kind, Step: "jump host " + h.name + ": " + f.Step, Hint: f.Hint, Err: f.Err}
	}
	return f
}

func (h *hop) reason(l *login, timeout time.Duration, spent bool, err error) *manifest.Failure {
	var own *manifest.Failure
	var other errOtherKey
	var none *ssh.AlgorithmNegotiationError
	var early *connectError
	switch {
	case errors.As(l.refused, &own):
		return own
	case errors.As(err, &other):
		return &manifest.Failure{Kind: manifest.KindHostKey, Step: "check host key", Err: other}
	case errors.As(err, &own):
		return own
	case l.refused != nil:
		return manifest.Fail(manifest.KindAuth, "log in", "%w", l.refused).Advise("use a key that needs no answer, such as one in ssh-agent")
	case spent:
		return h.tooSlow(l, timeout)
	case errors.As(err, &none):
		return manifest.Fail(manifest.KindConnect, "connect", "no way to speak with this SSH server: %w", textOf(err)).
			Advise("the host's sshd is too old or restricted; its %s must include one of: %s", none.What, strings.Join(none.SupportedAlgorithms, ", "))
	case errors.As(err, &early):
		return h.unreachable(early.err)
	case l.began && isRefusal(err):
		return h.denied(l, err)
	}
	return h.broken(l, err)
}

func (h *hop) tooSlow(l *login, timeout time.Duration) *manifest.Failure {
	where := "the host did not answer"
	switch {
	case l.began:
		where = "the login did not come to an end"
	case l.accepted != nil:
		where = "the SSH handshake did not come to an end"
	}
	return manifest.Fail(manifest.KindConnect, "connect", "timed out: %s within %v (%s port %d)", where, timeout, h.settings.host, h.settings.port).
		Advise("see whether the host is up and whether a firewall or VPN is in the way; ConnectTimeout in ssh_config allows more time")
}

// unreachable explains why there is no transport.
func (h *hop) unreachable(err error) *manifest.Failure {
	var dns *net.DNSError
	var channel *ssh.OpenChannelError
	f := manifest.Fail(manifest.KindConnect, "connect", "%s port %d: %w", h.settings.host, h.settings.port, textOf(err))
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return manifest.Fail(manifest.KindConnect, "connect", "no host is named %s: %w", h.settings.host, textOf(err)).
			Advise("check the name, or HostName in ssh_config")
	case errors.As(err, &channel) && channel.Reason == ssh.Prohibited:
		return f.Advise("the jump host does not forward connections: AllowTcpForwarding in its sshd_config")
	case errors.As(err, &channel):
		return f.Advise("the jump host is up but cannot reach the next one")
	case errors.Is(err, syscall.ECONNREFUSED):
		return f.Advise("nothing listens there: see whether sshd runs on the host, and on this port (-p names another)")
	}
	return f.Advise("see whether the host is up and whether a firewall or VPN is in the way")
}

// broken explains a connection that ended in the handshake.
func (h *hop) broken(l *login, err error) *manifest.Failure {
	var proxy *proxyError
	switch {
	case errors.As(err, &proxy):
		return manifest.Fail(manifest.KindConnect, "connect", "%w", proxy).Advise("try the command by hand: %s", clean(h.settings.proxyCommand))
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF):
		return manifest.Fail(manifest.KindConnect, "connect", "%s port %d closed the connection during the SSH handshake: %w", h.settings.host, h.settings.port, textOf(err)).
			Advise("the host may refuse this address, or have too many logins at once (MaxStartups): try again later, and see the log of its sshd")
	case !l.began && l.accepted == nil:
		return manifest.Fail(manifest.KindConnect, "connect", "%s port %d does not speak SSH as expected: %w", h.settings.host, h.settings.port, textOf(err)).
			Advise("see whether this is the port of an sshd; -p names another")
	}
	return manifest.Fail(manifest.KindConnect, "connect", "%w", textOf(err))
}

// isRefusal reports whether a login was refused, as opposed to a connection that broke. x/crypto has no type for the
// refusals, which also come as unexpected messages or as a disconnect, so everything else counts as one.
func isRefusal(err error) bool {
	var network *net.OpError
	var proxy *proxyError
	return !errors.As(err, &network) && !errors.As(err, &proxy) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) &&
		!errors.Is(err, net.ErrClosed) && !errors.Is(err, errAborted)
}

// denied tells what was tried, since the server does not say why it refuses.
func (h *hop) denied(l *login, err error) *manifest.Failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	parts := []string{fmt.Sprintf("%s refused user %s", h.settings.host, h.settings.user)}
	if len(l.allowed) > 0 {
		parts = append(parts, "it allows "+clean(strings.Join(l.allowed, ", ")))
	}
	switch keys := slices.Contains(l.allowed, "publickey"); {
	case len(l.offered) > 0:
		parts = append(parts, "offered were "+strings.Join(l.offered, ", "))
	case keys:
		parts = append(parts, "no key could be offered")
	}
	for _, m := range []string{"keyboard-interactive", "password"} {
		if slices.Contains(l.tried, m) {
			parts = append(parts, m+" was tried")
		}
	}
	if all := append(l.skipped[:len(l.skipped):len(l.skipped)], l.broken...); len(all) > 0 {
		parts = append(parts, "not used: "+strings.Join(all, "; "))
	}
	if strings.Contains(err.Error(), "Too many authentication failures") {
		return manifest.Fail(manifest.KindAuth, "log in", "too many keys were offered: %s", strings.Join(parts, "; ")).
			Advise("name the right key with -i and set IdentitiesOnly=yes")
	}
	return manifest.Fail(manifest.KindAuth, "log in", "%s", strings.Join(parts, "; ")).Advise("%s", h.loginHint(l))
}

func (h *hop) loginHint(l *login) string {
	switch {
	case len(l.skipped)+len(l.broken) > 0:
		return "add the key to ssh-agent with ssh-add, or name another with -i"
	case len(l.allowed) > 0 && !slices.Contains(l.allowed, "publickey") && len(l.tried) < 2: // "none" is always tried
		return "the host takes no keys and nobody can be asked here: run this at a terminal, or let the host take a key"
	}
	return fmt.Sprintf("see whether user %s is right and whether the public key is in its authorized_keys on the host; -i names a key, user@host a user", h.settings.user)
}

// notPinned is the failure when no key of the host has the fingerprint.
func (h *hop) notPinned(shown []string) error {
	text := "the host has no key of a kind that can be checked"
	if len(shown) > 0 {
		text = "the host has " + strings.Join(shown, ", ")
	}
	f := h.doorman.refuse("%s, not the key %s", text, h.doorman.fingerprint)
	return f.Advise("somebody may be listening in, or the host was set up anew: ask its administrator for the fingerprint")
}

// textOf keeps an error in the chain and makes its text, which may hold the server's words, fit to print.
func textOf(err error) error { return &cleanError{err} }

type cleanError struct{ err error }

func (e *cleanError) Error() string {
	return clean(strings.TrimPrefix(e.err.Error(), "ssh: handshake failed: "))
}
func (e *cleanError) Unwrap() error { return e.err }
