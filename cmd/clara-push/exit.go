package main

import (
	"errors"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// exitNotSpoken is what `clara-push agent --speaks N` ends with when it does not speak N. Part of the protocol: a host
// without clara-push or with another program of that name ends with something else.
const exitNotSpoken = 64

// exitCode gives the exit code for err. The codes are an interface: scripts rely on them.
func exitCode(err error) int {
	switch manifest.KindOf(err) {
	case "":
		return 0
	case manifest.KindUsage:
		return 2
	case manifest.KindPartial:
		return 3
	case manifest.KindConnect:
		return 10
	case manifest.KindAuth:
		return 11
	case manifest.KindHostKey:
		return 12
	case manifest.KindLocked:
		return 13
	case manifest.KindSpace:
		return 14
	case manifest.KindPermission:
		return 15
	case manifest.KindEngine:
		return 16
	case manifest.KindIntegrity:
		return 17
	case manifest.KindPolicy:
		return 18
	case manifest.KindMalformed:
		return 19
	case manifest.KindUnknown:
		return 20
	case manifest.KindNotFound:
		return 21
	case manifest.KindModel:
		return 22
	case manifest.KindServer:
		return 23
	case manifest.KindDrift:
		return 24
	case manifest.KindInterrupted:
		return interruptedCode(err)
	}
	if errors.Is(err, errNotSpoken) {
		return exitNotSpoken
	}
	return 1
}

// interruptedCode is 128 and the number of the signal, as a shell counts.
func interruptedCode(err error) int {
	var s signalled
	if errors.As(err, &s) && s.Signal == syscall.SIGTERM {
		return 143
	}
	return 130
}

const exitCodes = `Exit codes:
    0  done, also when there was nothing to do
    1  internal error, a defect of clara-push
    2  usage or configuration
    3  some hosts or items failed, in different ways
   10  cannot connect, connection lost, or timed out
   11  the host refused the login
   12  host key unknown, changed or revoked
   13  locked by another push
   14  no space
   15  no permission, or no container engine
   16  the engine refused the load
   17  integrity: bytes are not what their digest says
   18  signature or policy
   19  malformed bundle or archive
   20  interrupted past the commit point, state unknown
   21  image, model, file or base not found
   22  model refused by Triton's rules
   23  Triton did not take the model
   24  drift: what is there is not what was placed
  130  interrupted by SIGINT before anything was changed
  143  interrupted by SIGTERM before anything was changed`

// newExitCodes is a help topic: `clara-push help exit-codes`.
func newExitCodes() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "The exit codes and what they mean", Long: exitCodes}
}
