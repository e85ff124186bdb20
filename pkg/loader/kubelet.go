//go:build linux

package loader

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// kubeletConfigs are the files, below the root folder, in which a kubelet's runtime may be set: kubeadm's flags and the
// kubelet's own configuration.
var kubeletConfigs = []string{"var/lib/kubelet/kubeadm-flags.env", "var/lib/kubelet/config.yaml", "etc/default/kubelet", "etc/sysconfig/kubelet"}

var runtimeEndpoint = regexp.MustCompile(`(?:--container-runtime-endpoint[= ]|containerRuntimeEndpoint: *)"?([^\s"]+)`)

// kubeletWarnings warns when this machine's kubelet runs its containers with something else than the engine e: Kubernetes
// would not find the image that is pushed. root is "/", except in tests.
func kubeletWarnings(root string, e manifest.Engine) []string {
	args, running := kubelet(root)
	if !running {
		return nil
	}
	endpoint := endpointIn(args)
	for _, name := range kubeletConfigs {
		if endpoint != "" {
			break
		}
		raw, err := os.ReadFile(filepath.Join(root, name))
		if err == nil {
			endpoint = endpointIn(string(raw))
		}
	}
	if endpoint == "" || usesEngine(endpoint, e) {
		return nil
	}
	return []string{fmt.Sprintf("the kubelet of this machine runs containers with %s, not with %s: Kubernetes will not see this image",
		manifest.Plain(endpoint), e.Name)}
}

func endpointIn(text string) string {
	if m := runtimeEndpoint.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// usesEngine reports whether a kubelet with that endpoint shares images with e: Docker by a shim, podman with CRI-O.
func usesEngine(endpoint string, e manifest.Engine) bool {
	if e.Store == manifest.StorePodman {
		return strings.Contains(endpoint, "crio")
	}
	return strings.Contains(endpoint, "dockershim") || strings.Contains(endpoint, "cri-dockerd") || strings.Contains(endpoint, "docker.sock")
}

// kubelet returns the arguments of the kubelet that runs here, one space between two.
func kubelet(root string) (args string, running bool) {
	processes, _ := filepath.Glob(filepath.Join(root, "proc", "[0-9]*", "cmdline"))
	for _, path := range processes {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		argv := bytes.Split(bytes.TrimRight(raw, "\x00"), []byte{0})
		name := filepath.Base(string(argv[0]))
		if name == "kubelet" || name == "hyperkube" && len(argv) > 1 && string(argv[1]) == "kubelet" {
			return string(bytes.Join(argv[1:], []byte(" "))), true
		}
	}
	return "", false
}
