package engine

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// Only a large blob of the right size is read from its file, in either place and from any offset.
func TestContentFile(t *testing.T) {
	raw := bytes.Repeat([]byte("0123456789abcdef"), largeBlob/16)
	large := manifest.Descriptor{Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	for _, place := range []string{"", "containerd/daemon"} {
		root := t.TempDir()
		dir := filepath.Join(root, place, "io.containerd.content.v1.content/blobs/sha256")
		if err := os.MkdirAll(filepath.Join(dir, digest.FromString("a folder").Encoded()), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, large.Digest.Encoded()), raw, 0o644); err != nil {
			t.Fatal(err)
		}
		c := &Content{folders: storeFolders(root)}
		for _, offset := range []int64{0, 5, large.Size - 1} {
			r := c.file(large, offset)
			if r == nil {
				t.Fatalf("%q: the file was not opened", place)
			}
			got, err := io.ReadAll(r)
			if r.Close(); err != nil || !bytes.Equal(got, raw[offset:]) {
				t.Errorf("%q from %d: %d bytes, %v", place, offset, len(got), err)
			}
		}
		for name, d := range map[string]manifest.Descriptor{
			"small":   {Digest: large.Digest, Size: largeBlob - 1},
			"longer":  {Digest: large.Digest, Size: large.Size + 1},
			"absent":  {Digest: digest.FromString("absent"), Size: largeBlob},
			"folder":  {Digest: digest.FromString("a folder"), Size: largeBlob},
			"unknown": {Digest: large.Digest, Size: manifest.UnknownSize},
		} {
			if r := c.file(d, 0); r != nil {
				t.Errorf("%q: opened a file for a blob that is %s", place, name)
			}
		}
	}
	if f := storeFolders("relative/root"); f != nil {
		t.Errorf("folders of a relative root: %v", f)
	}
}
