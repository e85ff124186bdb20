//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
)

// Unavailable says that a part cannot be had on this machine, and why.
type Unavailable struct {
	Part   string // "modern engine", "sshd"
	Reason string // a phrase that says what to do: "install openssh-server"
}

// Error reads "PART is not available: REASON".
func (u *Unavailable) Error() string { return fmt.Sprintf("%s is not available: %s", u.Part, u.Reason) }

// Need skips the test, with the reason, unless this machine can start hosts with all these engines. Without kinds it
// asks for an SSH server only.
func Need(t testing.TB, kinds ...Kind) {
	t.Helper()
	Skip(t, available(kinds))
}

// Skip skips the test if err says that a part is unavailable, and ends it if err is any other error.
func Skip(t testing.TB, err error) {
	t.Helper()
	var u *Unavailable
	switch {
	case err == nil:
	case errors.As(err, &u):
		t.Skipf("skipped: %v", u)
	default:
		t.Fatal(err)
	}
}

// Available returns nil if this machine can start hosts with all these engines, else an error that says what is missing.
func Available(kinds ...Kind) error { return available(kinds) }

func available(kinds []Kind) error {
	if _, err := findSSHD(); err != nil {
		return err
	}
	for _, k := range kinds {
		if _, err := findEngine(k); err != nil {
			return err
		}
	}
	return nil
}

// needRoot returns an Unavailable unless we are root on Linux.
func needRoot(part string) error {
	switch {
	case runtime.GOOS != "linux":
		return &Unavailable{Part: part, Reason: "it runs on Linux only"}
	case os.Geteuid() != 0:
		return &Unavailable{Part: part, Reason: "it needs root"}
	}
	return nil
}
