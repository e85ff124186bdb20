//go:build linux

package main

import (
	"context"
	"os/exec"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/integration/lab"
)

// A way is one way to bring an image or a model to a host, or to do a step of a bundle's way there.
type way struct {
	name string
	fits func(row) bool
	// commands are the processes that do it, each one's output the next one's input.
	commands func(ctx context.Context, w *world, r row) ([]*exec.Cmd, error)
	loads    bool // the host has it afterwards
}

const (
	claraPush = "clara-push"
	plainPipe = "save | load"
	cipher    = "aes128-gcm@openssh.com" // the one clara-push chooses; ssh's own choice is twice the work
)

var imageWays = []way{
	{claraPush, always, push, true},
	{plainPipe, lossless, pipe("", ""), true},
	{"zstd -1", lossless, pipe("zstd -q -1 -T0", "zstd -dqc"), true},
	{"zstd -3", lossless, pipe("zstd -q -3 -T0", "zstd -dqc"), true},
	{"load alone", aloneFits, loadAlone, true},
	{"scp", lossy, scp, false},
}

func wayNames() string {
	var names []string
	for _, w := range slices.Concat(imageWays, modelWays[1:], bundleWays[1:]) {
		names = append(names, w.name)
	}
	return strings.Join(names, ", ")
}

func always(r row) bool    { return r.line.loss == 0 || r.change == cold }
func lossless(r row) bool  { return r.line.loss == 0 }
func lossy(r row) bool     { return r.line.loss > 0 && r.change == cold }
func aloneFits(r row) bool { return r.change == cold && r.line.name == loopback }

// push is clara-push as a user runs it.
func push(ctx context.Context, w *world, r row) ([]*exec.Cmd, error) {
	return []*exec.Cmd{w.claraPush(ctx, w.route.config, w.ref(r))}, nil
}

// pipe is docker save to docker load, through a program that compresses, where one is named, and its opposite on the host
// unless the engine reads zstd itself.
func pipe(pack, unpack string) func(context.Context, *world, row) ([]*exec.Cmd, error) {
	return func(ctx context.Context, w *world, r row) ([]*exec.Cmd, error) {
		save, err := w.source.DockerCommand(ctx, "save", w.ref(r))
		if err != nil {
			return nil, err
		}
		cmds := []*exec.Cmd{save}
		remote := "docker load -q"
		if pack != "" {
			words := strings.Fields(pack)
			cmds = append(cmds, exec.CommandContext(ctx, words[0], words[1:]...))
			if r.pair.host == lab.Docker2010 {
				remote = unpack + " | " + remote
			}
		}
		return append(cmds, w.enter(ctx, append(w.ssh(), hostAlias, remote)...)), nil
	}
}

// loadAlone loads an archive that lies on the host already.
func loadAlone(ctx context.Context, w *world, r row) ([]*exec.Cmd, error) {
	archive, err := w.archive(ctx, r)
	if err != nil {
		return nil, err
	}
	load, err := w.host.Engine.DockerCommand(ctx, "load", "-q", "-i", archive)
	return []*exec.Cmd{load}, err
}

// scp copies a file with as many bytes as the image's layer, which shrink as little.
func scp(ctx context.Context, w *world, _ row) ([]*exec.Cmd, error) {
	file, err := w.payload()
	if err != nil {
		return nil, err
	}
	return []*exec.Cmd{w.enter(ctx, "scp", "-F", w.route.config, "-c", cipher, "-o", "LogLevel=VERBOSE", file, hostAlias+":payload")}, nil
}
