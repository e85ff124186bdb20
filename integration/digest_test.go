//go:build linux

package integration

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// Where the source has a manifest, the host has the same afterwards, byte for byte, if its store keeps manifests; and in
// any case the same configuration and layers.
func TestDigest(t *testing.T) {
	e := source(t, lab.ModernContainerd)
	build(t, e, lab.ImageSpec{Name: "digest:1", Message: "digest", Base: lab.Layer{Size: 2 << 20, Seed: 400}})
	want := save(t, e, "digest:1")
	archive := savedLayout(t, e, "digest:1").tar()
	multi := savedLayout(t, e, "digest:1")
	multi.twoPlatforms("digest:1")

	// Each line is an image that is the one above, and a name that it gets on the hosts.
	for name, image := range map[string]string{
		"engine":           "digest:1",
		"archive":          "archive:" + archive,
		"gzip archive":     "archive:" + compressedCopy(t, archive, "gzip", ".gz"),
		"zstd archive":     "archive:" + compressedCopy(t, archive, "zstd", ".zst"),
		"layout of two":    "layout:" + multi.dir,
		"archive of two":   multi.tar(),
		"registry":         "registry://" + inRegistry(t, e, "digest:1", nil),
		"registry of two":  "registry://" + inRegistry(t, e, "digest:1", multi),
		"path of a folder": multi.dir,
	} {
		t.Run(name, func(t *testing.T) {
			for _, k := range []lab.Kind{lab.ModernContainerd, lab.Docker2010} {
				h := target(t, k)
				c := newClient(t, e, h)
				c.pushed("--as", "digest-there:1", image)
				got := save(t, h.Engine, "digest-there:1")
				if got.Config != want.Config || !slices.Equal(got.DiffIDs, want.DiffIDs) {
					t.Errorf("%s has config %s, layers %v; want %s, %v", k, got.Config, got.DiffIDs, want.Config, want.DiffIDs)
				}
				if k == lab.ModernContainerd && got.Manifest != want.Manifest {
					t.Errorf("%s has manifest %s, want %s", k, got.Manifest, want.Manifest)
				}
				runs(t, h.Engine, "digest-there:1", "digest")
				removeAll(t, h.Engine, "digest-there") // so that the next one travels
			}
		})
	}
}

// The image of another platform than the host's is refused before anything is sent, unless it is asked for.
func TestForeignPlatform(t *testing.T) {
	e, h := source(t, lab.ModernContainerd), target(t, lab.ModernContainerd)
	build(t, e, lab.ImageSpec{Name: "foreign:1", Base: lab.Layer{Size: 2 << 20, Seed: 401}})
	multi := savedLayout(t, e, "foreign:1")
	multi.twoPlatforms("foreign:1")
	own, _, _ := multi.parts() // the first one: arm64
	multi.index("foreign:1", own)
	c := newClient(t, e, h)
	r := c.fails(2, "archive:"+multi.tar())
	r.says(t, "linux/arm64", "linux/amd64", "--platform linux/arm64")
	if r.Up > 64<<10 || idOf(t, h.Engine, "foreign:1") != "" {
		t.Errorf("%d bytes travelled; the host has %q", r.Up, idOf(t, h.Engine, "foreign:1"))
	}
}

// compressedCopy compresses a file and returns the path of the copy.
func compressedCopy(t *testing.T, file, program, ending string) string {
	t.Helper()
	if out, err := exec.Command(program, "-k", "-1", file).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
	return file + ending
}

// inRegistry puts an engine's image into a registry, and with it the index of l, and returns the name it has there.
func inRegistry(t *testing.T, e *lab.Engine, ref string, l *layout) string {
	t.Helper()
	r, err := theLab(t).Registry(t.Context())
	lab.Skip(t, err)
	t.Cleanup(func() { r.Stop() })
	name := r.Addr + "/digest:1"
	for _, args := range [][]string{{"tag", ref, name}, {"push", name}, {"rmi", name}} {
		if _, err := e.Docker(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	if l == nil {
		return name
	}
	var index struct{ Manifests []descriptor }
	l.read("index.json", &index)
	both := index.Manifests[0]
	l.read(blobFile(both.Digest), &index)
	foreign := index.Manifests[0]
	var m struct{ Config descriptor }
	l.read(blobFile(foreign.Digest), &m)
	upload(t, "http://"+r.Addr+"/v2/digest", m.Config, l)
	put(t, "http://"+r.Addr+"/v2/digest/manifests/"+foreign.Digest, foreign, l)
	put(t, "http://"+r.Addr+"/v2/digest/manifests/two", both, l)
	return r.Addr + "/digest:two"
}

// upload puts a blob into a repository.
func upload(t *testing.T, repository string, d descriptor, l *layout) {
	t.Helper()
	resp, err := http.Post(repository+"/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	d.MediaType = "application/octet-stream"
	put(t, resp.Header.Get("Location")+"&digest="+d.Digest, d, l)
}

func put(t *testing.T, url string, d descriptor, l *layout) {
	t.Helper()
	b, err := os.ReadFile(l.path(blobFile(d.Digest)))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", d.MediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("PUT %s: %s", url, resp.Status)
	}
}
