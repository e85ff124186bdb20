package dial

import (
	"os"
	"os/exec"
	"syscall"
)

// shell hands the line to cmd as it stands: quoting it again would change it.
func shell(line string) *exec.Cmd {
	cmd := exec.Command("cmd.exe")
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: "/d /c " + line}
	return cmd
}

func hangUp(p *os.Process) { _ = p.Kill() }
