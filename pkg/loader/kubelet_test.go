//go:build linux

package loader

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestKubeletWarnings(t *testing.T) {
	const containerd = "unix:///run/containerd/containerd.sock"
	for _, tt := range []struct {
		name  string
		files map[string]string
		store manifest.Store
		warns string
	}{
		{name: "no kubelet", files: map[string]string{"var/lib/kubelet/config.yaml": "containerRuntimeEndpoint: " + containerd}},
		{name: "flag", files: map[string]string{"proc/12/cmdline": "/usr/bin/kubelet\x00--v=2\x00--container-runtime-endpoint=" + containerd + "\x00"}, warns: containerd},
		{name: "flag and value", files: map[string]string{"proc/12/cmdline": "kubelet\x00--container-runtime-endpoint\x00" + containerd + "\x00"}, warns: containerd},
		{
			name: "kubeadm",
			files: map[string]string{
				"proc/12/cmdline": "/usr/bin/kubelet\x00--config=/var/lib/kubelet/config.yaml\x00",
				"var/lib/kubelet/kubeadm-flags.env": `KUBELET_KUBEADM_ARGS="--container-runtime=remote --container-runtime-endpoint=` + containerd +
					` --pod-infra-container-image=x"` + "\n",
			},
			warns: containerd,
		},
		{
			name:  "configuration",
			files: map[string]string{"proc/12/cmdline": "kubelet\x00", "var/lib/kubelet/config.yaml": "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: \"" + containerd + "\"\n"},
			warns: containerd,
		},
		{name: "dockershim", files: map[string]string{"proc/12/cmdline": "kubelet\x00--container-runtime-endpoint=unix:///var/run/dockershim.sock\x00"}},
		{name: "cri-dockerd", files: map[string]string{"proc/12/cmdline": "kubelet\x00--container-runtime-endpoint=unix:///run/cri-dockerd.sock\x00"}},
		{name: "old kubelet on Docker", files: map[string]string{"proc/12/cmdline": "kubelet\x00--network-plugin=cni\x00"}},
		{name: "podman and CRI-O", store: manifest.StorePodman, files: map[string]string{"proc/12/cmdline": "kubelet\x00--container-runtime-endpoint=unix:///var/run/crio/crio.sock\x00"}},
		{
			name: "Docker and CRI-O", files: map[string]string{"proc/12/cmdline": "kubelet\x00--container-runtime-endpoint=unix:///var/run/crio/crio.sock\x00"},
			warns: "crio.sock",
		},
		{name: "somebody else", files: map[string]string{"proc/12/cmdline": "vim\x00kubelet\x00--container-runtime-endpoint=" + containerd + "\x00", "proc/13/cmdline": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tt.files {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			e := manifest.Engine{Name: "Docker Engine", Store: tt.store}
			got := strings.Join(kubeletWarnings(root, e), "\n")
			if (got != "") != (tt.warns != "") || !strings.Contains(got, tt.warns) {
				t.Errorf("got %q", got)
			}
		})
	}
}
