package transfer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestInstallingRemovesOnlyOldProgramsOfOurs(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh on this machine")
	}
	folder := t.TempDir()
	program := []byte("a program")
	sum := fmt.Sprintf("%x", sha256.Sum256(program))
	old, strange, young := strings.Repeat("0a", 32), strings.Repeat("1b", 32), strings.Repeat("2c", 32)
	kept := map[string]bool{
		"files/of/somebody": true, "tools/clara-push": true, strange + "/layer.tar": true, young + "/clara-push": true,
		old + "/clara-push": false, sum + "/clara-push": true,
	}
	for name := range kept {
		write(t, filepath.Join(folder, name), []byte("x"))
	}
	for _, dir := range []string{"files", "tools", strange, old} {
		past := time.Now().Add(-90 * 24 * time.Hour)
		if err := os.Chtimes(filepath.Join(folder, dir), past, past); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(program)
	z.Close()
	write(t, filepath.Join(folder, sum, "upload.gz"), packed.Bytes())
	out, err := exec.Command("sh", "-c", installCommand(folder, filepath.Join(folder, sum), "upload.gz", sum)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range kept {
		if _, err := os.Stat(filepath.Join(folder, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAgentThatDoesNotStartIsExplained(t *testing.T) {
	for name, c := range map[string]struct {
		failure startFailure
		want    string
	}{
		"noexec":   {startFailure{status: 127, printed: "motd\n" + missingMark + " Linux x86_64 /home/deploy\n"}, "noexec; name another with --agent-dir"},
		"no right": {startFailure{status: 126, stderr: "sh: clara-push: Permission denied"}, "noexec; name another with --agent-dir"},
		"silent":   {startFailure{status: 0, err: os.ErrClosed}, "look at its login shell"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStarter(SSHOptions{})
			var f *manifest.Failure
			if !errors.As(s.explain(&c.failure), &f) || !strings.Contains(f.Hint, c.want) {
				t.Errorf("got %v with hint %q, want %q in it", f, f.Hint, c.want)
			}
		})
	}
}
