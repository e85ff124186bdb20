//go:build unix

package engine

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// TestNoRight runs itself as a user who may not use the socket.
func TestNoRight(t *testing.T) {
	const socket = "CLARA_PUSH_TEST_SOCKET"
	if host := os.Getenv(socket); host != "" {
		_, err := Find(t.Context(), host)
		if manifest.KindOf(err) != manifest.KindPermission || !strings.Contains(err.(*manifest.Failure).Hint, "sudo usermod -aG docker ") {
			t.Errorf("got %v", err)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir, err := os.MkdirTemp("", "clara-push-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	host, program := startEngineIn(t, dir, nil), filepath.Join(dir, "test")
	raw, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Skip("this system does not show a program to itself")
	}
	err = errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, "docker.sock"), 0o600), os.WriteFile(program, raw, 0o755))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^TestNoRight$", "-test.v")
	cmd.Env = append(os.Environ(), socket+"="+host)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestNoRight") {
		t.Errorf("%v: %s", err, out)
	}
}
