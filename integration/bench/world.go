//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/clara-push/clara-push/integration/lab"
)

// world is a source, a host, and what is measured between them.
type world struct {
	lab     *lab.Lab
	source  *lab.Engine
	host    *lab.Host
	route   *route // of the row at hand
	options options
	dir     string
	cache   string // clara-push's cache folder
	program string
	built   map[string]bool
	kept    map[string]bool // files in the cache that belong to the state before a run
	models  *models         // where models are brought; nil where images are
}

const hostAlias = "bench" // the host's name in our ssh_config

func newWorld(ctx context.Context, l *lab.Lab, p pair, o options) (*world, error) {
	dir, err := os.MkdirTemp(l.Dir, "bench-")
	if err != nil {
		return nil, err
	}
	w := &world{lab: l, options: o, dir: dir, cache: filepath.Join(dir, "cache"), program: o.program, built: map[string]bool{}}
	if w.program == "" {
		w.program = filepath.Join(dir, "clara-push")
		if err := build(ctx, w.program); err != nil {
			return nil, err
		}
	}
	if p == noEngines {
		w.models = &models{world: w}
		s, err := l.SSHD(ctx, lab.SSHDOptions{})
		if err != nil {
			return nil, err
		}
		w.host = &lab.Host{SSHD: s}
		return w, w.bringAgent(ctx)
	}
	if w.source, err = l.Engine(ctx, p.source, lab.EngineOptions{}); err != nil {
		return nil, err
	}
	if w.host, err = l.Host(ctx, p.host, lab.HostOptions{}); err != nil {
		return nil, err
	}
	return w, w.bringAgent(ctx)
}

func build(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", to, "github.com/clara-push/clara-push/cmd/clara-push")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return explained(cmd)
}

// bringAgent has clara-push put its agent on the host, which happens once in a host's life and is not measured.
func (w *world) bringAgent(ctx context.Context) error {
	r, err := w.open(ctx, lines[0])
	if err != nil {
		return err
	}
	defer r.close() //nolint:errcheck // the line has served
	command := []string{"check", "-F", r.config, hostAlias}
	if w.models != nil {
		command = append(command, "--repository", w.dir)
	}
	return explained(exec.CommandContext(ctx, w.program, command...))
}

// close ends the engines, so that the next pair has the machine for itself.
func (w *world) close() error {
	if err := w.host.Stop(); err != nil || w.models != nil {
		return err
	}
	if err := w.host.Engine.Stop(); err != nil {
		return err
	}
	return w.source.Stop()
}

// ref is what the row's image is called on both sides.
func (w *world) ref(r row) string { return "bench-" + r.image + ":app" }

// images builds both versions of the row's image in the source, once.
func (w *world) images(ctx context.Context, r row) error {
	if w.built[r.image] {
		return nil
	}
	for n, version := range []string{"v1", "v2"} {
		spec := lab.ImageSpec{Name: "bench-" + r.image + ":" + version, Message: version, Base: w.base(r.image)}
		spec.Layers = []lab.Layer{{Content: lab.System, Size: 3 << 20, Seed: uint64(n + 1), Dir: "app"}}
		if r.image == lossyImage {
			spec.Layers = []lab.Layer{{Content: lab.Random, Size: w.options.lossy * 1e6, Seed: uint64(n + 1)}}
		}
		if err := w.lab.BuildImage(ctx, w.source, spec); err != nil {
			return err
		}
	}
	w.built[r.image] = true
	return nil
}

func (w *world) base(image string) lab.Layer {
	if image == lossyImage {
		return lab.Layer{}
	}
	return lab.Layer{Content: lab.System, Size: w.options.large * 1e6}
}

// enter prepares a command that runs where the client's end of the line is.
func (w *world) enter(ctx context.Context, argv ...string) *exec.Cmd {
	argv = append(w.route.enter[:len(w.route.enter):len(w.route.enter)], argv...)
	return exec.CommandContext(ctx, argv[0], argv[1:]...)
}

func (w *world) claraPush(ctx context.Context, config, ref string) *exec.Cmd {
	cmd := w.enter(ctx, w.program, "image", "-v", "-F", config, "--cache-dir", w.cache, ref, hostAlias)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+w.source.Host(), "DOCKER_CONTEXT=")
	return cmd
}

// archive is a docker save of the row's image, made once.
func (w *world) archive(ctx context.Context, r row) (string, error) {
	name := filepath.Join(w.dir, r.image+".tar")
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	_, err := w.source.Docker(ctx, "save", "-o", name, w.ref(r))
	return name, err
}

// payload is a file of the size of the lossy image's layer, made once.
func (w *world) payload() (string, error) {
	name := filepath.Join(w.dir, "payload")
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	return name, writeRandom(name, w.options.lossy*1e6)
}

// explained runs a command and puts what it said into the error.
func explained(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
