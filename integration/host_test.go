//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// ask asks an engine's API for a document. It is what the docker command would do, at a tenth of the time.
func ask(t testing.TB, e *lab.Engine, path string, v any) {
	t.Helper()
	resp, err := e.HTTP().Get("http://engine" + path)
	if err == nil {
		defer resp.Body.Close()
		err = json.NewDecoder(resp.Body).Decode(v)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %v", e.Name, path, err)
	}
}

// idOf returns the engine's ID of an image; empty when there is none of that name.
func idOf(t testing.TB, e *lab.Engine, ref string) string {
	t.Helper()
	for _, i := range imagesOf(t, e) {
		if id, name, _ := strings.Cut(i, " "); name == ref {
			return id
		}
	}
	return ""
}

// imagesOf lists an engine's images as "ID NAME:TAG", once for each name, and those without a name as "ID <none>:<none>".
func imagesOf(t testing.TB, e *lab.Engine) []string {
	t.Helper()
	var images []struct {
		ID       string `json:"Id"`
		RepoTags []string
	}
	ask(t, e, "/images/json?all=1", &images)
	var all []string
	for _, i := range images {
		if len(i.RepoTags) == 0 {
			i.RepoTags = []string{"<none>:<none>"}
		}
		for _, tag := range i.RepoTags {
			all = append(all, i.ID+" "+tag)
		}
	}
	return all
}

// arrived checks that the name on the host means the source's image, whole and able to run, and that the stage is clear.
func arrived(t testing.TB, c *client, ref, message string) {
	t.Helper()
	want, got := save(t, c.Engine, ref), save(t, c.Host.Engine, ref)
	if got.Config != want.Config || !slices.Equal(got.DiffIDs, want.DiffIDs) {
		t.Errorf("%s on %s has config %s and layers %v\nwant %s and %v", ref, c.Host.Engine.Name, got.Config, got.DiffIDs, want.Config, want.DiffIDs)
	}
	if c.Engine.Kind == lab.ModernContainerd && c.Host.Engine.Kind == lab.ModernContainerd && got.Manifest != want.Manifest {
		t.Errorf("%s on %s has manifest %s, want %s", ref, c.Host.Engine.Name, got.Manifest, want.Manifest)
	}
	runs(t, c.Host.Engine, ref, message)
	for _, d := range append(append(want.Blobs, want.DiffIDs...), want.Config, want.Manifest) {
		if d != "" && exists(filepath.Join(stage(c.Host), strings.TrimPrefix(d, "sha256:"))) {
			t.Errorf("blob %s of %s is left in the stage", d, ref)
		}
	}
}

// stage is where a host keeps chunks of pushes by root.
func stage(h *lab.Host) string { return h.VarLib + "/clara-push/partial" }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// removeAll removes all names of a repository, and with the last one the images.
func removeAll(t testing.TB, e *lab.Engine, repository string) {
	t.Helper()
	var names []string
	for _, i := range imagesOf(t, e) {
		if _, name, _ := strings.Cut(i, " "); strings.HasPrefix(name, repository+":") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return
	}
	if _, err := e.Docker(context.Background(), append([]string{"rmi"}, names...)...); err != nil {
		t.Fatal(err)
	}
}

// leftovers counts the blobs in the host's stage.
func leftovers(t testing.TB, h *lab.Host) int {
	t.Helper()
	all, err := os.ReadDir(stage(h))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(all)
}
