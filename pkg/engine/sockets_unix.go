//go:build !windows

package engine

import (
	"os"
	"path/filepath"
	"strconv"
)

// defaultHosts lists the sockets of engines that nobody configured, the docker CLI's own default first.
func defaultHosts() []string {
	runtime := os.Getenv("XDG_RUNTIME_DIR")
	if runtime == "" {
		runtime = filepath.Join("/run/user", strconv.Itoa(os.Getuid()))
	}
	hosts := []string{"unix:///var/run/docker.sock", "unix://" + filepath.Join(runtime, "docker.sock")}
	if home, err := os.UserHomeDir(); err == nil {
		hosts = append(hosts, "unix://"+filepath.Join(home, ".docker/run/docker.sock"))
	}
	return append(hosts, "unix:///run/podman/podman.sock", "unix://"+filepath.Join(runtime, "podman/podman.sock"))
}
