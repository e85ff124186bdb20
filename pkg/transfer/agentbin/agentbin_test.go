package agentbin

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
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

func TestNoted(t *testing.T) {
	sum := strings.Repeat("0a", 32)
	folder := fstest.MapFS{
		"agents/clara-push-linux-amd64.sha256": {Data: []byte(sum + "\n")},
		"agents/clara-push-linux-arm64.sha256": {Data: []byte("../../etc/passwd")},
	}
	if got, err := noted(folder, "linux", "amd64"); err != nil || got != sum {
		t.Errorf("noted = %q, %v", got, err)
	}
	for _, arch := range []string{"arm64", "mips"} {
		if got, err := noted(folder, "linux", arch); err == nil {
			t.Errorf("%s: noted = %q", arch, got)
		}
	}
}

// The digest is that of the program, however it is known. A bare test binary has no program to give.
func TestDigest(t *testing.T) {
	if _, err := Digest("linux", "mips"); manifest.KindOf(err) != manifest.KindNotFound {
		t.Errorf("no program: %v", err)
	}
	for _, p := range Embedded() {
		goos, goarch, _ := strings.Cut(p, "/")
		sum, err := Digest(goos, goarch)
		if err != nil {
			t.Fatal(err)
		}
		r, size, err := For(goos, goarch)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		n, err := io.Copy(h, r)
		if err != nil || n != size || hex.EncodeToString(h.Sum(nil)) != sum {
			t.Errorf("%s: %d bytes of %d, %v, digest %x; noted is %s", p, n, size, err, h.Sum(nil), sum)
		}
		_ = r.Close()
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
