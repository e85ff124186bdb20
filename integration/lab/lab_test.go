//go:build linux

package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each engine starts, builds an image, runs it, keeps it over a kill, and its host sees it through ssh.
func TestHost(t *testing.T) {
	for _, k := range Dockers {
		t.Run(string(k), func(t *testing.T) {
			Need(t, k)
			l, ctx := StartTest(t), t.Context()
			h, err := l.Host(ctx, k, HostOptions{})
			if err != nil {
				t.Fatal(err)
			}
			spec := ImageSpec{Name: "app:1", Base: Layer{Size: 4 << 20}, Layers: []Layer{{Content: Random, Size: 1 << 20, Seed: 1}, {Content: Half, Size: 1 << 20, Seed: 2}}}
			if err := l.BuildImage(ctx, h.Engine, spec); err != nil {
				t.Fatal(err)
			}
			runs(t, l, h.Engine, "app:1")
			if err := h.Engine.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := h.Engine.Start(ctx); err != nil {
				t.Fatal(err)
			}
			runs(t, l, h.Engine, "app:1")
			out, err := h.SSH(ctx, "docker image inspect -f '{{len .RootFS.Layers}}' app:1")
			if err != nil || out != "3" {
				t.Errorf("layers seen through ssh = %q, %v; want 3", out, err)
			}
			if out, err := h.SSHAs(ctx, "clara", "docker version -f ok"); err != nil {
				t.Errorf("clara may not use the engine: %v %s", err, out)
			}
			if out, err := h.SSHAs(ctx, "guest", "docker version -f ok"); err == nil {
				t.Errorf("guest may use the engine: %s", out)
			}
		})
	}
}

func runs(t *testing.T, l *Lab, e *Engine, image string) {
	t.Helper()
	out, err := l.RunContainer(t.Context(), e, image)
	if err != nil || out != "hello from "+image {
		t.Fatalf("run %s: %q, %v", image, out, err)
	}
}

// Two builds of one spec give the same layers; another seed in the top layer changes only that.
func TestBuildIsRepeatable(t *testing.T) {
	Need(t, Docker2010)
	l := StartTest(t)
	layers := func(seed uint64) []string {
		e, err := l.Engine(t.Context(), Docker2010, EngineOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Stop()
		if err := l.BuildImage(t.Context(), e, ImageSpec{Name: "a:1", Base: Layer{Size: 2 << 20}, Layers: []Layer{{Content: Random, Size: 1000, Seed: seed}}}); err != nil {
			t.Fatal(err)
		}
		out, err := e.Docker(t.Context(), "image", "inspect", "-f", `{{join .RootFS.Layers " "}}`, "a:1")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(out)
	}
	a, b, c := layers(1), layers(1), layers(2)
	if len(a) != 2 || a[0] != b[0] || a[1] != b[1] {
		t.Errorf("two builds differ: %v, %v", a, b)
	}
	if a[0] != c[0] || a[1] == c[1] {
		t.Errorf("another seed: %v, %v; want another top layer only", a, c)
	}
}

// A data root on a small file system fills up, and the lab still closes.
func TestSmallDataRoot(t *testing.T) {
	Need(t, Docker2010)
	l := StartTest(t)
	e, err := l.Engine(t.Context(), Docker2010, EngineOptions{DataMiB: 64})
	if err != nil {
		t.Fatal(err)
	}
	err = l.BuildImage(t.Context(), e, ImageSpec{Name: "big:1", Layers: []Layer{{Content: Random, Size: 80 << 20}}})
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("build of 80 MiB on 64 MiB: %v; want no space left", err)
	}
}

// The world of a session is private: home, state, socket folder.
func TestSSHD(t *testing.T) {
	Need(t)
	if err := needRoot("a private world"); err != nil {
		Skip(t, err)
	}
	l := StartTest(t)
	s, err := l.SSHD(t.Context(), SSHDOptions{Env: map[string]string{"GREETING": "good day"}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.SSH(t.Context(), `pwd; echo ~; echo $GREETING; touch /var/lib/x /run/y ~/z`)
	if want := s.Home + "\n" + s.Home + "\ngood day"; err != nil || out != want {
		t.Errorf("session says %q, %v; want %q", out, err, want)
	}
	for _, f := range []string{filepath.Join(s.VarLib, "x"), filepath.Join(s.Run, "y"), filepath.Join(s.Home, "z")} {
		if _, err := os.Stat(f); err != nil {
			t.Errorf("what the session wrote is not in its world: %v", err)
		}
	}
	if _, err := os.Stat("/run/y"); err == nil {
		t.Error("the session wrote to the machine's /run")
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SSH(t.Context(), "true"); err == nil {
		t.Error("a stopped server still answers")
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SSH(t.Context(), "true"); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}
