//go:build linux

package loader

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

func zipped(t *testing.T, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(raw)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t *testing.T, raw []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(raw, nil)
}

func TestInflate(t *testing.T) {
	raw := bytes.Repeat([]byte("layer "), 1<<18)
	blob := zstandard(t, raw)
	lost := errors.New("the line broke")
	right := digest.FromBytes(raw)
	for _, tt := range []struct {
		name   string
		r      io.Reader
		diffID manifest.Digest
		kind   manifest.Kind
	}{
		{name: "right", r: bytes.NewReader(blob), diffID: right},
		{name: "another layer", r: bytes.NewReader(blob), diffID: layerDigest, kind: manifest.KindIntegrity},
		{name: "cut short", r: bytes.NewReader(blob[:len(blob)-3]), diffID: right, kind: manifest.KindIntegrity},
		{name: "no zstd", r: bytes.NewReader(raw), diffID: right, kind: manifest.KindIntegrity},
		{name: "verifier", r: verify(bytes.NewReader(blob), manifest.Descriptor{Digest: layerDigest, Size: int64(len(blob))}), diffID: right, kind: manifest.KindIntegrity},
		{name: "broken", r: io.MultiReader(bytes.NewReader(blob[:9]), failing{manifest.Fail(manifest.KindStale, "read", "%w", lost)}), diffID: right, kind: manifest.KindStale},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			f, size, err := inflate(dir, tt.r, tt.diffID)
			if manifest.KindOf(err) != tt.kind {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				defer f.Close()
				if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, raw) || size != int64(len(raw)) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestCopyLayer(t *testing.T) {
	raw := bytes.Repeat([]byte("layer "), 1<<18)
	right := digest.FromBytes(raw)
	lost := errors.New("the line broke")
	for name, blob := range map[string][]byte{"tar": raw, "gzip": zipped(t, raw), "zstd": zstandard(t, raw)} {
		t.Run(name, func(t *testing.T) {
			var copied bytes.Buffer
			keep := func(r io.Reader) error { _, err := io.Copy(&copied, r); return err }
			if err := copyLayer(bytes.NewReader(blob), right, keep); err != nil || !bytes.Equal(copied.Bytes(), blob) {
				t.Errorf("got %d bytes, %v", copied.Len(), err)
			}
			if err := copyLayer(bytes.NewReader(blob), layerDigest, keep); manifest.KindOf(err) != manifest.KindIntegrity {
				t.Errorf("another layer: %v", err)
			}
			if err := copyLayer(bytes.NewReader(blob[:len(blob)-1]), right, keep); manifest.KindOf(err) != manifest.KindIntegrity {
				t.Errorf("cut short: %v", err)
			}
			err := copyLayer(io.MultiReader(bytes.NewReader(blob[:5]), failing{lost}), right, keep)
			if !errors.Is(err, lost) {
				t.Errorf("broken: %v", err)
			}
			full := fmt.Errorf("the engine hung up")
			if err := copyLayer(bytes.NewReader(blob), right, func(r io.Reader) error { return full }); err != full {
				t.Errorf("copy failed: %v", err)
			}
		})
	}
}
