//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

//go:embed hello/main.go
var helloSource []byte

// helloProgram builds the static hello program, once for each source and toolchain, in the lab's cache.
func helloProgram(ctx context.Context) (file, error) {
	sum := sha256.Sum256(append(helloSource, runtime.Version()...))
	program := filepath.Join(CacheDir(), fmt.Sprintf("hello-%x", sum[:8]))
	if f, err := localFile("hello", program); err == nil {
		return f, nil
	}
	if err := os.MkdirAll(CacheDir(), 0o755); err != nil {
		return file{}, err
	}
	dir, err := os.MkdirTemp(CacheDir(), "hello-build-")
	if err != nil {
		return file{}, err
	}
	defer os.RemoveAll(dir)
	source, built := filepath.Join(dir, "main.go"), filepath.Join(dir, "hello")
	if err := os.WriteFile(source, helloSource, 0o644); err != nil {
		return file{}, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", built, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH, "GOFLAGS=")
	if _, err := output(cmd); err != nil {
		return file{}, fmt.Errorf("build the hello program: %w", err)
	}
	if err := os.Rename(built, program); err != nil {
		return file{}, err
	}
	return localFile("hello", program)
}
