package manifest

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what sort of failure happened, in terms of what the user can do about it. The command line maps each
// kind to one exit code; the host agent sends it as text, so the words are part of the protocol.
type Kind string

// The kinds of failure. Each names the exit code that the command line gives it.
const (
	KindInternal    Kind = "internal"      // 1: a defect of ours
	KindUsage       Kind = "usage"         // 2: arguments or configuration
	KindPartial     Kind = "partial"       // 3: some hosts or items failed
	KindConnect     Kind = "connect"       // 10: cannot connect, timed out, connection lost
	KindAuth        Kind = "auth"          // 11: the host refused the login
	KindHostKey     Kind = "host-key"      // 12: unknown, changed or revoked host key
	KindLocked      Kind = "locked"        // 13: another push holds the lock
	KindSpace       Kind = "space"         // 14: no space, no inodes
	KindPermission  Kind = "permission"    // 15: no right, or no engine there
	KindEngine      Kind = "engine"        // 16: the engine refused the load
	KindIntegrity   Kind = "integrity"     // 17: bytes are not what their digest says
	KindPolicy      Kind = "policy"        // 18: signature or policy
	KindMalformed   Kind = "malformed"     // 19: malformed bundle or archive
	KindUnknown     Kind = "unknown-state" // 20: interrupted past the commit point
	KindNotFound    Kind = "not-found"     // 21: image, file or base not found
	KindModel       Kind = "model"         // 22: refused by Triton's rules
	KindServer      Kind = "server"        // 23: Triton did not take the model
	KindDrift       Kind = "drift"         // 24: what is installed is not what the receipt says
	KindInterrupted Kind = "interrupted"   // 130 or 143: interrupted before the commit point

	// KindStale never reaches a user: the host changed between inventory and apply, so plan again.
	KindStale Kind = "stale"
)

// AsRoot is the hint that helps wherever a right is missing, on either end of a push.
const AsRoot = "take root's rights (--sudo with a HOST, sudo clara-push without)"

// A Failure is an error that a user meets: where, at which step, why, and what to do. Make one where the cause is
// known; outer code adds what it knows (usually the host) with In and keeps the kind.
type Failure struct {
	Kind Kind
	Host string // as the user wrote it; for this machine empty, or in so many words where there is a host besides
	Step string // what was being done: "connect", "load image app:1"
	Hint string // what to do, a sentence or a command; empty when nothing helps
	Err  error  // why; never nil
	// Absent, of a KindStale failure: layers (by diffID) or blobs that the host turned out not to have. Of a KindIntegrity
	// failure: blobs that arrived there damaged.
	Absent []Digest
}

// Fail makes a Failure from a format like fmt.Errorf, %w included.
func Fail(k Kind, step, format string, args ...any) *Failure {
	return &Failure{Kind: k, Step: step, Err: fmt.Errorf(format, args...)}
}

// Advise returns a copy of f with the hint set.
func (f *Failure) Advise(format string, args ...any) *Failure {
	g := *f
	g.Hint = fmt.Sprintf(format, args...)
	return &g
}

// Error reads "HOST: STEP: WHY". The hint is not part of it: whoever prints the error prints the hint beside it.
func (f *Failure) Error() string {
	var parts []string
	for _, p := range []string{f.Host, f.Step, f.Err.Error()} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// On adds the host to a Failure that has none. Other errors become KindInternal failures on that host; nil stays nil.
func On(host string, err error) error {
	if err == nil {
		return nil
	}
	var f *Failure
	if !errors.As(err, &f) {
		return &Failure{Kind: KindInternal, Host: host, Err: err}
	}
	if f.Host != "" || f != err {
		return err
	}
	g := *f
	g.Host = host
	return &g
}

// KindOf returns the kind of the first Failure in err's chain, KindInternal for any other error, "" for nil.
func KindOf(err error) Kind {
	var f *Failure
	switch {
	case err == nil:
		return ""
	case errors.As(err, &f):
		return f.Kind
	}
	return KindInternal
}
