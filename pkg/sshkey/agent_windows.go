package sshkey

import (
	"context"
	"net"
	"strings"

	winio "github.com/Microsoft/go-winio"
)

// defaultAgent is the pipe of the OpenSSH service that comes with Windows.
const defaultAgent = `\\.\pipe\openssh-ssh-agent`

func dialAgent(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, agentAnswers)
	defer cancel()
	if strings.HasPrefix(strings.ReplaceAll(address, "/", `\`), `\\.\pipe\`) {
		return winio.DialPipeContext(ctx, strings.ReplaceAll(address, "/", `\`))
	}
	return new(net.Dialer).DialContext(ctx, "unix", address)
}
