package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
)

// Engine is a connection to one container engine. It may be used by several goroutines at once.
type Engine struct {
	cli     *client.Client
	base    string // path before the versioned API, for an engine behind a proxy; usually empty
	about   manifest.Engine
	content *Content
}

// connect speaks to the engine at ep for the first time and asks what it is.
func connect(ctx context.Context, ep endpoint) (*Engine, error) {
	u, err := client.ParseHostURL(ep.host)
	if err != nil {
		return nil, manifest.Fail(manifest.KindUsage, "find engine", "%w", err)
	}
	opts := []client.Opt{client.WithAPIVersionFromEnv()}
	if ep.tls != nil {
		opts = append(opts, client.WithHTTPClient(&http.Client{
			Transport: &http.Transport{TLSClientConfig: ep.tls}, CheckRedirect: client.CheckRedirect,
		}))
	}
	cli, err := client.New(append(opts, client.WithHost(ep.host))...)
	if err != nil {
		return nil, manifest.Fail(manifest.KindUsage, "find engine", "%s: %w", ep.host, err)
	}
	e := &Engine{cli: cli, base: strings.TrimSuffix(u.Path, "/")}
	if err := e.describe(ctx); err != nil {
		cli.Close()
		return nil, err
	}
	if e.about.Store == manifest.StoreContainerd {
		e.content = openContent(ctx, e)
		e.about.Content = e.content != nil
	}
	return e, nil
}

// Close drops the connections. Closing twice is no error.
func (e *Engine) Close() error {
	e.content.close()
	return e.cli.Close()
}

// Describe says what the engine is, as it was when Find connected to it.
func (e *Engine) Describe() manifest.Engine { return e.about }

// Address is where the engine listens: "unix:///var/run/docker.sock".
func (e *Engine) Address() string { return e.cli.DaemonHost() }

// Content is the engine's content store; nil where it has none that can be read.
func (e *Engine) Content() *Content { return e.content }

func (e *Engine) describe(ctx context.Context) error {
	if _, err := e.cli.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return e.unreachable(err)
	}
	version, err := e.cli.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return e.unreachable(err)
	}
	answer, err := e.cli.Info(ctx, client.InfoOptions{})
	if err != nil {
		return e.unreachable(err)
	}
	info := answer.Info
	e.about = manifest.Engine{
		Name: "Docker Engine", Version: manifest.Plain(version.Version), API: e.cli.ClientVersion(),
		Store: storeOf(info), Driver: manifest.Plain(info.Driver), Root: rootOf(info),
		Platform: platformOf(version.Os, version.Arch, info.Architecture),
	}
	isPodman := func(c system.ComponentVersion) bool { return c.Name == "Podman Engine" }
	if slices.ContainsFunc(version.Components, isPodman) {
		e.about.Name, e.about.Store = "podman", manifest.StorePodman
	}
	return nil
}

// storeOf recognises the containerd store by the driver type that Docker 24 and newer report.
func storeOf(info system.Info) manifest.Store {
	if slices.Contains(info.DriverStatus, [2]string{"driver-type", "io.containerd.snapshotter.v1"}) {
		return manifest.StoreContainerd
	}
	return manifest.StoreGraphdriver
}

// rootOf is where images lie: with the containerd store, below the data folder of the system's containerd when the engine
// uses that instead of one of its own.
func rootOf(info system.Info) string {
	if storeOf(info) == manifest.StoreContainerd && info.Containerd != nil {
		switch info.Containerd.Address {
		case "/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock":
			return "/var/lib/containerd"
		}
	}
	return info.DockerRootDir
}

// platformOf adds to what the engine was built for the variant of a 32-bit ARM machine, which the kernel's name tells.
func platformOf(os, arch, machine string) manifest.Platform {
	p := manifest.Platform{OS: os, Architecture: arch}
	if arch == "arm" && len(machine) > 4 && strings.HasPrefix(machine, "armv") {
		p.Variant = machine[3:5]
	}
	return p
}

// atLeast reports whether the negotiated API version is major.minor or newer.
func (e *Engine) atLeast(major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(e.about.API, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}

// dial opens a connection of its own to the engine, for requests whose two directions must be watched separately.
func (e *Engine) dial(ctx context.Context) (net.Conn, error) {
	conn, err := e.cli.Dialer()(ctx)
	if err != nil {
		return nil, e.unreachable(err)
	}
	return conn, nil
}

// unreachable makes the failure for an engine that does not answer. A cancelled context stays what it is.
func (e *Engine) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if strings.Contains(err.Error(), "minimum supported API version") || strings.Contains(err.Error(), "is too old") {
		return manifest.Fail(manifest.KindEngine, "connect to engine", "%s: %s", e.Address(), manifest.Plain(err.Error())).
			Advise("clara-push works with Docker Engine 19.03 and newer")
	}
	return manifest.Fail(manifest.KindPermission, "connect to engine", "no Docker Engine answers at %s: %s", e.Address(), manifest.Plain(err.Error())).
		Advise("see whether it runs: docker info")
}

// Local reports whether the engine is reached over a socket of this machine.
func (e *Engine) Local() bool {
	return strings.HasPrefix(e.Address(), "unix://") || strings.HasPrefix(e.Address(), "npipe://")
}
