//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// The agent gets to a host and starts there, whatever the account's login does and whatever else bears its name.
func TestAgentArrives(t *testing.T) {
	e := newEngine(t, lab.Docker2010, lab.EngineOptions{})
	for _, n := range []struct {
		name  string
		spoil func(t *testing.T, h *lab.Host)
	}{
		{"fresh host", func(*testing.T, *lab.Host) {}},
		{"login script that prints", func(t *testing.T, h *lab.Host) {
			writeFile(t, filepath.Join(h.Home, ".bashrc"), "echo Welcome to this host; echo 'it is a fine day'\n", 0o644)
		}},
		{"program of that name that agrees to all", func(t *testing.T, h *lab.Host) {
			writeFile(t, filepath.Join(h.Bin, "clara-push"), "#!/bin/sh\necho old version; exit 0\n", 0o755)
		}},
		{"program of that name that knows nothing", func(t *testing.T, h *lab.Host) {
			writeFile(t, filepath.Join(h.Bin, "clara-push"), "#!/bin/sh\nexit 2\n", 0o755)
		}},
	} {
		t.Run(n.name, func(t *testing.T) {
			h := newHostOf(t, e, lab.HostOptions{})
			n.spoil(t, h)
			for _, when := range []string{"first", "again"} {
				r := newClient(t, nil, h).run("check", "target")
				r.exits(t, 0)
				brought := r.Up > 1<<20
				if brought != (when == "first") {
					t.Errorf("%s: %d bytes travelled", when, r.Up)
				}
			}
		})
	}
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
