package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// patience is how long an engine may take to say what it is.
const patience = 30 * time.Second

// endpoint is a place where an engine may listen.
type endpoint struct {
	host string // unix:///path, npipe:////./pipe/name, tcp://host:port
	tls  *tls.Config
}

// Find connects to the engine that the docker CLI would use: the one at host, else what DOCKER_HOST names, else the
// context that DOCKER_CONTEXT or the CLI's configuration names, else the first default socket that answers (Docker,
// rootless Docker, Docker Desktop, podman). DOCKER_TLS_VERIFY, DOCKER_TLS, DOCKER_CERT_PATH and DOCKER_API_VERSION count
// as they do there.
//
// It fails with KindPermission when there is no engine or no right to speak to it, KindUsage when the named place makes
// no sense, KindEngine when the engine is too old.
func Find(ctx context.Context, host string) (*Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ep, err := choose(host)
	if err != nil {
		return nil, err
	}
	if ep.host == "" {
		return findDefault(ctx)
	}
	if err := knock(ctx, ep.host); err != nil {
		return nil, refusal(ep.host, err)
	}
	return connect(ctx, ep)
}

// choose picks the endpoint that host, the environment or a context names; its host is empty when nothing names one.
func choose(host string) (endpoint, error) {
	if host == "" {
		host = os.Getenv("DOCKER_HOST")
	}
	if host == "" {
		return currentContext()
	}
	if strings.HasPrefix(host, "unix://") || strings.HasPrefix(host, "npipe://") {
		return place(host, nil)
	}
	config, err := tlsFromEnv()
	if err != nil {
		return endpoint{}, err
	}
	return place(host, config)
}

// place completes a host as the docker CLI does: a scheme, and for TCP a port. A nil config means no TLS.
func place(host string, config *tls.Config) (endpoint, error) {
	scheme, addr, found := strings.Cut(strings.TrimSpace(host), "://")
	if !found && filepath.IsAbs(scheme) {
		return endpoint{}, manifest.Fail(manifest.KindUsage, "find engine", "%s is a path, not an address", manifest.Plain(host)).
			Advise("give it as unix://%s", manifest.Plain(host))
	}
	if !found {
		scheme, addr = "tcp", scheme
	}
	switch scheme {
	case "unix", "npipe":
		return endpoint{host: scheme + "://" + addr}, nil
	case "tcp", "http", "https":
		return endpoint{host: "tcp://" + withPort(addr, config), tls: config}, nil
	case "ssh":
		return endpoint{}, manifest.Fail(manifest.KindUsage, "find engine", "%s: an engine over ssh cannot be used here", manifest.Plain(host)).
			Advise("run clara-push on that machine, or name a local engine with DOCKER_HOST or docker context use")
	}
	return endpoint{}, manifest.Fail(manifest.KindUsage, "find engine", "%s: unknown way to reach an engine", manifest.Plain(host)).
		Advise("give it as unix:///path/of/docker.sock or tcp://host:2376")
}

func withPort(addr string, config *tls.Config) string {
	hostPort, path, slash := strings.Cut(addr, "/")
	if slash {
		path = "/" + path
	}
	if _, _, err := net.SplitHostPort(hostPort); err == nil {
		return addr
	}
	port := "2375"
	if config != nil {
		port = "2376"
	}
	if hostPort == "" {
		hostPort = "localhost"
	}
	return net.JoinHostPort(strings.Trim(hostPort, "[]"), port) + path
}

// findDefault tries the default sockets. When none answers, the most telling failure is reported: a socket that may not
// be used before one that nobody listens on.
func findDefault(ctx context.Context) (*Engine, error) {
	var told error
	for _, host := range defaultHosts() {
		err := knock(ctx, host)
		if err == nil {
			var e *Engine
			if e, err = connect(ctx, endpoint{host: host}); err == nil {
				return e, nil
			}
		} else if errors.Is(err, fs.ErrNotExist) {
			continue
		} else {
			err = refusal(host, err)
		}
		if told == nil {
			told = err
		}
	}
	if told != nil {
		return nil, told
	}
	return nil, manifest.Fail(manifest.KindPermission, "find engine", "no Docker Engine").
		Advise("install Docker or podman and start it, or name its socket with --host-engine unix:///path/of/docker.sock")
}

// knock sees whether somebody listens on a socket that we may use. Only then does the error tell why not.
func knock(ctx context.Context, host string) error {
	path, isSocket := strings.CutPrefix(host, "unix://")
	if !isSocket {
		return nil
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return conn.Close()
}

// refusal explains why nobody could be reached on a socket.
func refusal(host string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return manifest.Fail(manifest.KindPermission, "find engine", "%s may not use the engine's socket %s", userName(), host).
			Advise("let the user use Docker (sudo usermod -aG docker %s, then log in again), or "+manifest.AsRoot, userName())
	case errors.Is(err, fs.ErrNotExist):
		return manifest.Fail(manifest.KindPermission, "find engine", "no Docker Engine: there is no socket %s", host).
			Advise("start the engine, or name its socket with --host-engine unix:///path/of/docker.sock")
	}
	return manifest.Fail(manifest.KindPermission, "find engine", "no Docker Engine: nobody listens on %s: %w", host, err).
		Advise("start the engine: sudo systemctl start docker")
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "this user"
}
