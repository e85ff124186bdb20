//go:build linux

package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// A Kind is a kind of engine.
type Kind string

// The kinds of engines.
const (
	// Docker2010 is the distribution's engine: Docker 20.10 on Debian 12. Graphdriver store.
	Docker2010 Kind = "docker2010"
	// ModernGraphdriver is the modern engine with the classic store (overlay2).
	ModernGraphdriver Kind = "modern-graphdriver"
	// ModernContainerd is the modern engine with the containerd store.
	ModernContainerd Kind = "modern-containerd"
	// Podman is the distribution's podman, as the service behind a Docker-compatible socket.
	Podman Kind = "podman"
)

// Dockers are the engines that every push is tried against.
var Dockers = []Kind{Docker2010, ModernGraphdriver, ModernContainerd}

// DockerGID is the group that may use the engines' sockets. The users "root" and "clara" of a Host are in it.
const DockerGID = 64117

// EngineOptions change how an engine is started. The zero value works.
type EngineOptions struct {
	DataMiB int      // size of a small file system of its own for the data root; 0 means none
	Args    []string // more arguments for dockerd, or for "podman system service"
	Env     []string // more environment
}

// An Engine is a running container engine with folders and a socket of its own, and without a network for containers.
type Engine struct {
	Kind     Kind
	Name     string // unique in its lab
	Dir      string // its folder
	Socket   string // path of the API socket
	DataRoot string // images and layers are below it; for the engine's own "tmp", too

	lab        *Lab
	opts       EngineOptions
	programs   programs
	containerd *process // nil for podman
	daemon     *process
}

// Engine starts an engine and waits until it answers. It lives until Stop, Kill or Close of the lab.
func (l *Lab) Engine(ctx context.Context, k Kind, o EngineOptions) (*Engine, error) {
	p, err := findEngine(k)
	if err != nil {
		return nil, err
	}
	dir, name, err := l.folder(string(k))
	if err != nil {
		return nil, err
	}
	e := &Engine{
		Kind: k, Name: name, Dir: dir, lab: l, opts: o, programs: p,
		Socket: filepath.Join(dir, "docker.sock"), DataRoot: filepath.Join(dir, "data"),
	}
	if o.DataMiB > 0 {
		if err := l.SmallFS(e.DataRoot, o.DataMiB); err != nil {
			return nil, err
		}
	}
	l.onClose(e.Stop)
	return e, e.Start(ctx)
}

// Start starts a stopped or killed engine on the same folders and socket, and waits until it answers.
func (e *Engine) Start(ctx context.Context) error {
	began := time.Now()
	os.Remove(filepath.Join(e.Dir, "docker.pid")) // left by Kill; its pid may be someone else's by now
	if err := e.launch(); err != nil {
		return err
	}
	if err := e.daemon.await(40*time.Second, func() error { return e.ping(ctx) }); err != nil {
		return err
	}
	e.lab.Logf("%s: ready after %v, pid %d, socket %s", e.Name, time.Since(began).Round(time.Millisecond), e.PID(), e.Socket)
	return nil
}

// Stop ends the engine and its containers as a shutdown of the machine would. Stopping twice is no error.
func (e *Engine) Stop() error {
	if e.daemon == nil || !e.daemon.running() && !e.containerd.alive() {
		return nil
	}
	err := e.daemon.stop(20 * time.Second)
	if e.containerd != nil {
		if e2 := e.containerd.stop(10 * time.Second); err == nil {
			err = e2
		}
	}
	e.lab.Logf("%s: stopped", e.Name)
	return err
}

// Kill ends the engine, and its containerd, as a power cut would.
func (e *Engine) Kill() error {
	err := e.daemon.kill()
	if e.containerd != nil {
		if e2 := e.containerd.kill(); err == nil {
			err = e2
		}
	}
	e.lab.Logf("%s: killed", e.Name)
	return err
}

// Restart is Stop and Start.
func (e *Engine) Restart(ctx context.Context) error {
	if err := e.Stop(); err != nil {
		return err
	}
	return e.Start(ctx)
}

// PID returns the process ID of the engine's daemon.
func (e *Engine) PID() int { return e.daemon.pid() }

// Host returns the socket as DOCKER_HOST wants it: unix:///path.
func (e *Engine) Host() string { return "unix://" + e.Socket }

// Log returns the path of the engine's log.
func (e *Engine) Log() string { return e.daemon.log }

// HTTP returns a client whose every request goes to the engine's socket, whatever host its URL names.
func (e *Engine) HTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", e.Socket)
		},
		DisableKeepAlives: true,
	}}
}

func (e *Engine) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/_ping", nil)
	if err != nil {
		return err
	}
	resp, err := e.HTTP().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(io.LimitReader(resp.Body, 100)); string(b) != "OK" {
		return fmt.Errorf("ping: %s: %q", resp.Status, b)
	}
	return nil
}
