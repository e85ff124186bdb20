//go:build !windows

package dial

import (
	"os"
	"os/exec"
	"syscall"
)

// shell runs a line as ssh does: exec leaves no shell between us and the command.
func shell(line string) *exec.Cmd { return exec.Command("/bin/sh", "-c", "exec "+line) }

func hangUp(p *os.Process) { _ = p.Signal(syscall.SIGHUP) }
