//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/integration/meter"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// What the image and the host are called.
const (
	image = "app_livertumor:latest"
	host  = "gpu01"
)

const appSize = 3 << 20 // of the application's layer, in bytes

// options are the demo's flags.
type options struct {
	source, host string
	base         int64 // MB
}

func kinds() string {
	var names []string
	for _, k := range lab.Dockers {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// stage is what the story plays on.
type stage struct {
	lab    *lab.Lab
	source *lab.Engine
	host   *lab.Host
	base   int64
	dir    string // programs and configuration
	config string // for -F
	began  time.Time

	modelSize int64 // bytes of all versions of the model
}

// setUp builds the program and starts both engines and the sshd.
func setUp(ctx context.Context, o options) (*stage, error) {
	kind, err := sourceKind(o)
	if err != nil {
		return nil, err
	}
	s := &stage{base: o.base * 1e6, began: time.Now()}
	s.say("0. Build clara-push; start an engine here (%s) and a host with engine (%s) and sshd, in a lab of their own.", kind, o.host)
	if s.lab, err = lab.Start(ctx, lab.Options{}); err != nil {
		return nil, err
	}
	if err := s.fill(ctx, kind, lab.Kind(o.host)); err != nil {
		return nil, errors.Join(err, s.lab.Close())
	}
	return s, nil
}

// sourceKind chooses the engine that builds: with the containerd store, which gives single layers away, where there is one.
func sourceKind(o options) (lab.Kind, error) {
	if o.base < 100 {
		return "", fmt.Errorf("a base of %d MB shows little: at least 100", o.base)
	}
	kind := lab.Kind(o.source)
	if kind == "" {
		kind = lab.ModernContainerd
		if lab.Available(kind) != nil {
			kind = lab.Docker2010
		}
	}
	return kind, lab.Available(kind, lab.Kind(o.host))
}

func (s *stage) fill(ctx context.Context, source, target lab.Kind) (err error) {
	s.dir = filepath.Join(s.lab.Dir, "demo")
	if err := os.MkdirAll(s.repository(), 0o755); err != nil {
		return err
	}
	if err := buildProgram(ctx, s.program()); err != nil {
		return err
	}
	if s.source, err = s.lab.Engine(ctx, source, lab.EngineOptions{}); err != nil {
		return err
	}
	if s.host, err = s.lab.Host(ctx, target, lab.HostOptions{}); err != nil {
		return err
	}
	return s.writeConfig()
}

func (s *stage) program() string { return filepath.Join(s.dir, "clara-push") }

// buildProgram builds clara-push as a release does: static, so that it also serves as the agent on the host.
func buildProgram(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", to, "github.com/clara-push/clara-push/cmd/clara-push")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build clara-push: %w", err)
	}
	return nil
}

// writeConfig writes the ssh_config in which the lab's host has a name.
func (s *stage) writeConfig() error {
	s.config = filepath.Join(s.dir, "ssh_config")
	text := fmt.Sprintf("Host %s\n  HostName 127.0.0.1\n  Port %d\n  User root\n  IdentityFile %s\n  IdentitiesOnly yes\n"+
		"  UserKnownHostsFile %s\n  GlobalKnownHostsFile /dev/null\n", host, s.host.Port, s.host.ClientKey, s.host.KnownHosts)
	return os.WriteFile(s.config, []byte(text), 0o600)
}

// build builds the image with docker build; equal versions give equal layers.
func (s *stage) build(ctx context.Context, version string, seed uint64) error {
	return s.lab.BuildImage(ctx, s.source, lab.ImageSpec{
		Name: image, Message: "app_livertumor, " + version,
		Base:   lab.Layer{Content: lab.System, Size: s.base},
		Layers: []lab.Layer{{Content: lab.System, Size: appSize, Seed: seed, Dir: "app"}},
	})
}

// push pushes the image and tells what of it travelled.
func (s *stage) push(ctx context.Context) error {
	return s.counted(ctx, s.base+appSize, "image", "image", image, host)
}

// counted runs clara-push and tells what travelled, beside the size of what it is about.
func (s *stage) counted(ctx context.Context, size int64, what, command string, args ...string) error {
	counted, err := meter.NewTraffic(s.host.SSHD)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := s.run(ctx, command, args...); err != nil {
		return err
	}
	took := time.Since(began)
	if err := counted.Settle(ctx); err != nil {
		return err
	}
	fmt.Printf("\n   That took %.1f s. The host's sshd counted %s coming in and %s going out;\n   the %s consists of %s of files.\n",
		took.Seconds(), manifest.FormatBytes(counted.In), manifest.FormatBytes(counted.Out), what, manifest.FormatBytes(size))
	return nil
}

// run runs clara-push as a user does, but for the options that keep the lab apart from the user's own files.
func (s *stage) run(ctx context.Context, command string, args ...string) error {
	fmt.Printf("\n   $ clara-push %s %s\n", command, strings.Join(args, " "))
	own := []string{command, "-F", s.config}
	if command == "image" || command == "model" {
		own = append(own, "--cache-dir", filepath.Join(s.dir, "cache"))
	}
	if command != "image" {
		own = append(own, "--repository", s.repository())
	}
	cmd := exec.CommandContext(ctx, s.program(), append(own, args...)...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+s.source.Host(), "DOCKER_CONTEXT=")
	wrote := &indented{to: os.Stdout}
	cmd.Stdout, cmd.Stderr = wrote, wrote
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("clara-push %s: %w", command, err)
	}
	return nil
}

// show runs a command on the host through ssh and prints what it says.
func (s *stage) show(ctx context.Context, command string) error {
	fmt.Printf("\n   $ ssh %s %s\n", host, command)
	out, err := s.host.SSH(ctx, command)
	fmt.Fprintln(&indented{to: os.Stdout}, out)
	return err
}

// sum ends the story with what the host's own record says.
func (s *stage) sum() error {
	receipts, err := s.receipts()
	if err != nil {
		return err
	}
	s.say("Done in %s: the host was changed %d times, each time in one step and after a check; a receipt of each lies in /var/lib/clara-push on it.",
		time.Since(s.began).Round(time.Second), len(receipts))
	fmt.Println("   All of the lab is being removed. To keep one and try things: make lab")
	return nil
}

func (s *stage) receipts() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(s.host.VarLib, "clara-push", "receipts", "*.json"))
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		raw, err := os.ReadFile(n)
		if err != nil {
			return nil, err
		}
		if !json.Valid(raw) {
			return nil, fmt.Errorf("%s is no JSON", n)
		}
	}
	return names, nil
}

func (s *stage) close() {
	if err := s.lab.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "demo: remove the lab:", err)
	}
}

// say prints a heading.
func (s *stage) say(format string, args ...any) { fmt.Printf("\n"+format+"\n", args...) }
