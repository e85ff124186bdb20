package agentbin

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestPacked(t *testing.T) {
	content := bytes.Repeat([]byte("a program "), 5000)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	folder := fstest.MapFS{
		"agents/clara-push-linux-arm64.gz": {Data: z.Bytes()},
		"agents/clara-push-linux-amd64.gz": {Data: []byte("not gzip")},
	}
	r, size, err := packed(folder, "linux", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v; want the %d that were packed", len(got), err, len(content))
	}
	if size != int64(len(content)) {
		t.Errorf("size = %d, want %d", size, len(content))
	}
	if _, _, err := packed(folder, "linux", "amd64"); manifest.KindOf(err) != manifest.KindInternal {
		t.Errorf("damaged file: %v", err)
	}
	if _, _, err := packed(folder, "linux", "riscv64"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such agent: %v, want fs.ErrNotExist", err)
	}
}

// A test binary is no clara-push and never to be uploaded; other platforms have no agent in a bare build.
func TestForRefuses(t *testing.T) {
	for _, tt := range []struct{ goos, goarch, why string }{
		{"linux", "mips", "carries no agent for linux/mips"},
		{"darwin", "arm64", "carries no agent for darwin/arm64"},
		{"plan9", "amd64", "carries no agent for plan9/amd64"},
	} {
		r, _, err := For(tt.goos, tt.goarch)
		if err == nil {
			_ = r.Close()
		}
		var f *manifest.Failure
		if !errors.As(err, &f) || f.Kind != manifest.KindNotFound {
			t.Errorf("%s/%s: %v, want KindNotFound", tt.goos, tt.goarch, err)
			continue
		}
		if !strings.Contains(f.Error(), tt.why) {
			t.Errorf("%s/%s: %q, want %q in it", tt.goos, tt.goarch, f, tt.why)
		}
		if !strings.Contains(f.Hint, "--agent") || !strings.Contains(f.Hint, "GOOS="+tt.goos+" GOARCH="+tt.goarch+" go build") {
			t.Errorf("%s/%s: hint %q does not say how to get one", tt.goos, tt.goarch, f.Hint)
		}
	}
	if isClaraPush() {
		t.Error("this test binary passes for clara-push")
	}
}

func TestSelf(t *testing.T) {
	r, size, err := self()
	if err != nil {
		t.Skipf("no /proc/self/exe here: %v", err)
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	if err != nil || n != size || n == 0 {
		t.Errorf("read %d bytes, %v; size said %d", n, err, size)
	}
}
