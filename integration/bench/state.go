//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// prepare brings about what the row's runs begin with and do not bring about themselves: the images in the source, and
// unless the row is cold the first version on the host and in clara-push's cache, as after a push of it.
func (w *world) prepare(ctx context.Context, r row) error {
	if err := w.images(ctx, r); err != nil {
		return err
	}
	w.kept = map[string]bool{}
	if err := w.clear(ctx, true); err != nil {
		return err
	}
	if r.change == cold {
		return nil
	}
	if err := w.tagSource(ctx, r, "v1"); err != nil {
		return err
	}
	direct, err := w.open(ctx, lines[0])
	if err != nil {
		return err
	}
	defer direct.close() //nolint:errcheck // the line has served
	was := w.route
	w.route = direct
	defer func() { w.route = was }()
	if err := explained(w.claraPush(ctx, direct.config, w.ref(r))); err != nil {
		return err
	}
	if _, err := w.host.Engine.Docker(ctx, "tag", w.ref(r), keptName(r)); err != nil {
		return err
	}
	for _, f := range w.cached() {
		w.kept[f] = true
	}
	return nil
}

func keptName(r row) string { return "bench-" + r.image + ":kept" }

// reset brings back the state before a run.
func (w *world) reset(ctx context.Context, r row) error {
	if err := w.clear(ctx, r.change == cold); err != nil {
		return err
	}
	version := "v1"
	if r.change == top {
		version = "v2"
	}
	if err := w.tagSource(ctx, r, version); err != nil {
		return err
	}
	if r.change != cold {
		if _, err := w.host.Engine.Docker(ctx, "tag", keptName(r), w.ref(r)); err != nil {
			return err
		}
	}
	syscall.Sync() // so that no run pays for what an earlier one has written
	return nil
}

func (w *world) tagSource(ctx context.Context, r row, version string) error {
	_, err := w.source.Docker(ctx, "tag", "bench-"+r.image+":"+version, w.ref(r))
	return err
}

// clear removes from the host all images but the kept one, and all of it when everything shall go, the stage and what
// scp brought, and from the cache what came after the state to begin with.
func (w *world) clear(ctx context.Context, everything bool) error {
	names, err := w.host.Engine.Docker(ctx, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
	if err != nil {
		return err
	}
	for _, n := range strings.Fields(names) {
		if strings.Contains(n, "<none>") || strings.HasSuffix(n, ":kept") && !everything {
			continue
		}
		if _, err := w.host.Engine.Docker(ctx, "image", "rm", "-f", n); err != nil {
			return err
		}
	}
	if _, err := w.host.Engine.Docker(ctx, "image", "prune", "-f"); err != nil {
		return err
	}
	err = errors.Join(os.RemoveAll(filepath.Join(w.host.VarLib, "clara-push")), os.RemoveAll(filepath.Join(w.host.Home, "payload")))
	for _, f := range w.cached() {
		if !w.kept[f] {
			err = errors.Join(err, os.Remove(f))
		}
	}
	return err
}

// cached lists the files in clara-push's cache.
func (w *world) cached() []string {
	files, _ := filepath.Glob(filepath.Join(w.cache, "layers", "*")) // the pattern is well formed
	return files
}

// check sees that the host has the image of the source under its name.
func (w *world) check(ctx context.Context, r row) error {
	layers := func(docker func(context.Context, ...string) (string, error)) (string, error) {
		return docker(ctx, "image", "inspect", "-f", "{{json .RootFS.Layers}}", w.ref(r))
	}
	want, err := layers(w.source.Docker)
	if err != nil {
		return err
	}
	got, err := layers(w.host.Engine.Docker)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("the host has the layers %s, the source %s", got, want)
	}
	return nil
}

func writeRandom(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, size)
	return errors.Join(err, f.Close())
}
