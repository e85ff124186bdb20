//go:build !windows

package sshkey

import (
	"context"
	"net"
)

// defaultAgent is where the agent is when nothing says so: nowhere.
const defaultAgent = ""

func dialAgent(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: agentAnswers}).DialContext(ctx, "unix", address)
}
