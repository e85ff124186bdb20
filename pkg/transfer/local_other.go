//go:build !linux

package transfer

import (
	"context"
	"runtime"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Local is this machine as a target. Only a Linux machine can be one.
type Local struct {
	Target
	Keeper
}

// StateDir fails as OpenLocal does.
func StateDir(string) (string, error) { return "", unfit() }

// OpenLocal fails: nothing lands on a machine that is not Linux.
func OpenLocal(context.Context, LocalOptions) (*Local, error) {
	return nil, unfit()
}

func unfit() error {
	return manifest.Fail(manifest.KindUsage, "", "this machine runs %s; images and models land on Linux hosts only", runtime.GOOS).
		Advise("run clara-push on the host, or name the HOST to reach it over SSH")
}
