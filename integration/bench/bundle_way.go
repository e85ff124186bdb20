//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
)

var bundleWays = []way{
	{claraPush, anyRow, bundleStep, true},
	{"save | gzip -1", during(writeStep), saveGzip, true},
	{"sha256sum", during(verifyStep), sha256sum, false},
	{"docker load", during(loadStep), loadBundle, true},
}

func during(s step) func(row) bool { return func(r row) bool { return r.step == s } }

// bundleStep is clara-push as a user runs it.
func bundleStep(ctx context.Context, w *world, r row) ([]*exec.Cmd, error) {
	switch r.step {
	case writeStep:
		return []*exec.Cmd{w.writeCommand(ctx, r, w.writtenFile())}, nil
	case verifyStep:
		return []*exec.Cmd{w.carried(ctx, "verify", "-v", "--allow-unsigned", w.bundleFile())}, nil
	}
	return []*exec.Cmd{w.loadCommand(ctx)}, nil
}

func (w *world) writeCommand(ctx context.Context, r row, to string) *exec.Cmd {
	return w.carried(ctx, "bundle", "-v", "-o", to, "--image", w.ref(r), "--engine", w.source.Host(),
		"--compression", w.options.compression, "--cache-dir", w.cache)
}

func (w *world) loadCommand(ctx context.Context) *exec.Cmd {
	return w.carried(ctx, "load", "-v", "--allow-unsigned", "--host-engine", w.host.Engine.Host(), "--state-dir", w.stateDir(), w.bundleFile())
}

// carried prepares a clara-push that needs no SSH and knows no signers of the user at this machine.
func (w *world) carried(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.program, args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+w.dir)
	return cmd
}

func saveGzip(ctx context.Context, w *world, r row) ([]*exec.Cmd, error) {
	save, err := w.source.DockerCommand(ctx, "save", w.ref(r))
	return []*exec.Cmd{save, exec.CommandContext(ctx, "sh", "-c", `exec gzip -1 >"$0"`, w.writtenFile())}, err
}

func sha256sum(ctx context.Context, w *world, _ row) ([]*exec.Cmd, error) {
	return []*exec.Cmd{exec.CommandContext(ctx, "sha256sum", w.bundleFile())}, nil
}

// loadBundle has the engine load the very same file.
func loadBundle(ctx context.Context, w *world, _ row) ([]*exec.Cmd, error) {
	load, err := w.host.Engine.DockerCommand(ctx, "load", "-q", "-i", w.bundleFile())
	return []*exec.Cmd{load}, err
}
