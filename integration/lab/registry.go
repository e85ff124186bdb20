//go:build linux

package lab

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// A Registry is a running "distribution" registry on a loopback port, without TLS and without login: engines and
// go-containerregistry accept that of 127.0.0.1.
type Registry struct {
	Addr string // 127.0.0.1:PORT, the first part of an image's name
	Dir  string // its folder; blobs are below data/

	proc *process
}

// Registry starts a registry and waits until it answers.
func (l *Lab) Registry(ctx context.Context) (*Registry, error) {
	program, ok := findProgram("docker-registry")
	if !ok {
		return nil, &Unavailable{Part: "registry", Reason: "docker-registry is not installed: run scripts/install-lab.sh"}
	}
	dir, name, err := l.folder("registry")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &Registry{Addr: fmt.Sprintf("127.0.0.1:%d", port), Dir: dir}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}\nhttp: {addr: %q}\n",
		filepath.Join(dir, "data"), r.Addr)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	if r.proc, err = l.start(name, []string{"PATH=" + systemPath, "HOME=" + dir, "OTEL_TRACES_EXPORTER=none"}, program, "serve", config); err != nil {
		return nil, err
	}
	l.onClose(r.Stop)
	err = r.proc.await(15*time.Second, func() error { return r.ping(ctx) })
	l.Logf("%s: pid %d, address %s", name, r.proc.pid(), r.Addr)
	return r, err
}

// Stop ends the registry. Stopping twice is no error.
func (r *Registry) Stop() error { return r.proc.stop(5 * time.Second) }

func (r *Registry) ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Addr+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("registry answers %s", resp.Status)
	}
	return nil
}
