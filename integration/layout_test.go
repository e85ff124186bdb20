//go:build linux

package integration

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// A layout is an OCI image layout folder, made by hand: honest or not.
type layout struct {
	t   testing.TB
	dir string
}

// A descriptor names a blob, in the words of the OCI image specification.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
}

const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// savedLayout returns the layout that "docker save" makes of an image. The engine must be a modern one.
func savedLayout(t testing.TB, e *lab.Engine, ref string) *layout {
	t.Helper()
	l := &layout{t: t, dir: t.TempDir()}
	tar := filepath.Join(t.TempDir(), "saved.tar")
	if _, err := e.Docker(t.Context(), "save", "-o", tar, ref); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xf", tar, "-C", l.dir).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	return l
}

// tar packs the layout and returns the archive's path.
func (l *layout) tar() string {
	l.t.Helper()
	path := filepath.Join(l.t.TempDir(), "archive.tar")
	if out, err := exec.Command("tar", "-cf", path, "-C", l.dir, ".").CombinedOutput(); err != nil {
		l.t.Fatalf("tar: %v: %s", err, out)
	}
	return path
}

func (l *layout) path(name string) string { return filepath.Join(l.dir, name) }

func (l *layout) write(name string, b []byte) {
	l.t.Helper()
	if err := os.WriteFile(l.path(name), b, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func (l *layout) read(name string, v any) {
	l.t.Helper()
	b, err := os.ReadFile(l.path(name))
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// blob writes a blob under its digest.
func (l *layout) blob(mediaType string, b []byte) descriptor {
	l.t.Helper()
	d := descriptor{MediaType: mediaType, Digest: digestOf(b), Size: int64(len(b))}
	l.write(blobFile(d.Digest), b)
	return d
}

// document writes a JSON document as a blob.
func (l *layout) document(mediaType string, v any) descriptor {
	l.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.blob(mediaType, b)
}

// layer writes a layer, compressed, and returns the digest of its uncompressed bytes too.
func (l *layout) layer(plain []byte) (d descriptor, diffID string) {
	l.t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(plain)
	if err := w.Close(); err != nil {
		l.t.Fatal(err)
	}
	return l.blob(typeLayer, z.Bytes()), digestOf(plain)
}

// image writes configuration and manifest of an image for linux/amd64.
func (l *layout) image(layers []descriptor, diffIDs []string) descriptor {
	l.t.Helper()
	config := l.document(typeConfig, map[string]any{
		"os": "linux", "architecture": "amd64", "config": map[string]any{"Cmd": []string{"/hello"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	return l.manifest(config, layers)
}

func (l *layout) manifest(config descriptor, layers []descriptor) descriptor {
	l.t.Helper()
	return l.document(typeManifest, map[string]any{"schemaVersion": 2, "mediaType": typeManifest, "config": config, "layers": layers})
}

// index writes index.json with one entry of this name.
func (l *layout) index(name string, d descriptor) {
	l.t.Helper()
	d.Annotations = map[string]string{"io.containerd.image.name": name}
	b, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []descriptor{d}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.write("index.json", b)
}

// parts returns the descriptors of the layout's one image.
func (l *layout) parts() (image, config descriptor, layers []descriptor) {
	l.t.Helper()
	var index struct{ Manifests []descriptor }
	for name := "index.json"; ; name = blobFile(image.Digest) {
		l.read(name, &index)
		image = index.Manifests[0]
		if image.MediaType == typeManifest {
			break
		}
	}
	var m struct {
		Config descriptor
		Layers []descriptor
	}
	l.read(blobFile(image.Digest), &m)
	return image, m.Config, m.Layers
}

// twoPlatforms makes the layout's image one of two platforms: an index of an image for arm64 that has the same layers, and
// the image itself. It returns the index.
func (l *layout) twoPlatforms(name string) descriptor {
	l.t.Helper()
	own, config, layers := l.parts()
	var c map[string]any
	l.read(blobFile(config.Digest), &c)
	c["architecture"] = "arm64"
	foreign := l.manifest(l.document(typeConfig, c), layers)
	foreign.Platform = &platform{"linux", "arm64"}
	own.Platform, own.Annotations = &platform{"linux", "amd64"}, nil
	both := l.document(typeIndex, map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []descriptor{foreign, own}})
	l.index(name, both)
	return both
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
