//go:build !linux

package main

import (
	"context"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// serve refuses: hosts are Linux machines, and what the agent does there is written for Linux.
func serve(context.Context, IO) error {
	return manifest.Fail(manifest.KindUsage, "agent", "the agent runs on Linux only")
}
