//go:build linux

package integration

import (
	"os"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// build builds an image.
func build(t testing.TB, e *lab.Engine, s lab.ImageSpec) {
	t.Helper()
	if err := theLab(t).BuildImage(t.Context(), e, s); err != nil {
		t.Fatal(err)
	}
}

// runs checks that a container of the image prints its message.
func runs(t testing.TB, e *lab.Engine, ref, message string) {
	t.Helper()
	out, err := theLab(t).RunContainer(t.Context(), e, ref)
	if want := "hello from " + message; err != nil || out != want {
		t.Errorf("%s: a container of %s prints %q, %v; want %q", e.Name, ref, out, err, want)
	}
}

// idOf returns the engine's ID of an image; empty when there is none of that name.
func idOf(t testing.TB, e *lab.Engine, ref string) string {
	t.Helper()
	out, err := e.Docker(t.Context(), "image", "ls", "--no-trunc", "--format", "{{.ID}}", ref)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// stage is where a host keeps chunks of pushes by root.
func stage(h *lab.Host) string { return h.VarLib + "/clara-push/partial" }

// leftovers counts the blobs in the host's stage.
func leftovers(t testing.TB, h *lab.Host) int {
	t.Helper()
	all, err := os.ReadDir(stage(h))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(all)
}
