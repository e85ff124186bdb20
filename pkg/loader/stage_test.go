//go:build linux

package loader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// testBlob is a blob of three chunks, half of it compressible, cut and encoded.
func testBlob(t *testing.T) ([]byte, manifest.Descriptor, []Chunk) {
	t.Helper()
	raw := make([]byte, 2*manifest.ChunkSize+12345)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(raw[:len(raw)/2])
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := manifest.Descriptor{Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	var chunks []Chunk
	for i := range manifest.Chunks(d.Size) {
		part := raw[int64(i)*manifest.ChunkSize:][:manifest.ChunkLen(d.Size, i)]
		c := Chunk{Index: i, Codec: CodecRaw, Raw: int64(len(part)), Body: part}
		if i%2 == 1 {
			c.Codec, c.Body = CodecZstd, z.EncodeAll(part, nil)
		}
		c.Sum = xxhash.Sum64(c.Body)
		chunks = append(chunks, c)
	}
	return raw, d, chunks
}

func newStage(t *testing.T) *Stage {
	t.Helper()
	s, err := openStage(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStageReadsWhileChunksArriveInAnyOrder(t *testing.T) {
	raw, d, chunks := testBlob(t)
	s := newStage(t)
	r, err := s.Open(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		for _, i := range []int{2, 0, 1} {
			time.Sleep(10 * time.Millisecond)
			if _, err := s.Put(d.Digest, chunks[i]); err != nil {
				t.Error(err)
			}
		}
	}()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, raw) {
		t.Fatalf("read %d bytes of %d, %v", len(got), len(raw), err)
	}
}

func TestStageReaderEndsWithItsContext(t *testing.T) {
	_, d, chunks := testBlob(t)
	s := newStage(t)
	if _, err := s.Put(d.Digest, chunks[0]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	r, err := s.Open(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r)
	if !errors.Is(err, context.DeadlineExceeded) || n != manifest.ChunkSize {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestStageRefusesDamagedChunks(t *testing.T) {
	_, d, chunks := testBlob(t)
	tests := map[string]func(*Chunk){
		"flipped byte":   func(c *Chunk) { c.Body = append([]byte{c.Body[0] ^ 1}, c.Body[1:]...) },
		"cut short":      func(c *Chunk) { c.Body = c.Body[:len(c.Body)-1] },
		"wrong length":   func(c *Chunk) { c.Raw-- },
		"too long":       func(c *Chunk) { c.Raw = manifest.ChunkSize + 1 },
		"unknown codec":  func(c *Chunk) { c.Codec = "lz4" },
		"negative index": func(c *Chunk) { c.Index = -1 },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			c := chunks[0]
			spoil(&c)
			if _, err := s.Put(d.Digest, c); manifest.KindOf(err) != manifest.KindIntegrity {
				t.Errorf("put: %v", err)
			}
			if entries, _ := os.ReadDir(filepath.Join(s.dir, d.Digest.Encoded())); len(entries) != 0 {
				t.Errorf("%d files were left", len(entries))
			}
		})
	}
}

func TestStageRefusesDigestsThatAreNone(t *testing.T) {
	_, _, chunks := testBlob(t)
	s := newStage(t)
	for _, d := range []manifest.Digest{"", "sha256:", "sha256:../../etc", "sha512:00", "sha256:" + "A"} {
		if _, err := s.Put(d, chunks[0]); manifest.KindOf(err) != manifest.KindMalformed {
			t.Errorf("%q: %v", d, err)
		}
	}
}

func TestStageReportDropsWhatIsDamagedOnDisk(t *testing.T) {
	_, d, chunks := testBlob(t)
	damage := map[string]func(path string) error{
		"flipped byte": func(p string) error {
			raw, err := os.ReadFile(p)
			raw[len(raw)/2] ^= 1
			return errors.Join(err, os.WriteFile(p, raw, 0o600))
		},
		"cut short": func(p string) error { return os.Truncate(p, 1000) },
		"emptied":   func(p string) error { return os.Truncate(p, 0) },
	}
	for name, spoil := range damage {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			for _, c := range chunks {
				if _, err := s.Put(d.Digest, c); err != nil {
					t.Fatal(err)
				}
			}
			if err := spoil(filepath.Join(s.dir, d.Digest.Encoded(), "1")); err != nil {
				t.Fatal(err)
			}
			got, err := s.Report([]manifest.Digest{d.Digest})
			if err != nil || len(got) != 1 || !slices.Equal(got[0].Chunks, []int{0, 2}) {
				t.Errorf("report %v, %v", got, err)
			}
		})
	}
}

func TestSweepLeavesWhatIsHeldOrYoung(t *testing.T) {
	_, d, chunks := testBlob(t)
	dir := t.TempDir()
	s, err := openStage(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(d.Digest, chunks[0]); err != nil {
		t.Fatal(err)
	}
	other, err := openStage(dir)
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, age time.Duration, blobs, held int) {
		t.Helper()
		got, err := other.Sweep(context.Background(), age)
		if err != nil || got.Blobs != blobs || got.Held != held {
			t.Errorf("%s: %+v, %v", when, got, err)
		}
	}
	check("held", 0, 0, 1)
	s.Close()
	check("young", time.Hour, 0, 1)
	check("free", 0, 1, 0)
	check("empty", 0, 0, 0)
}

func TestPutWaitsForTheRemovalOfWhatWasThere(t *testing.T) {
	s, err := openStage(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d := digest.FromString("blob")
	dir := filepath.Join(s.dir, d.Encoded())
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	sweeper, err := lockFolder(dir, syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() {
		os.RemoveAll(dir)
		sweeper.Close()
	})
	body := []byte("blob")
	if _, err := s.Put(d, Chunk{Codec: CodecRaw, Raw: int64(len(body)), Sum: xxhash.Sum64(body), Body: body}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "0")); err != nil {
		t.Error("the chunk is not there:", err)
	}
}

func TestDropLeavesWhatAnotherProcessHolds(t *testing.T) {
	_, d, chunks := testBlob(t)
	dir := t.TempDir()
	var stages [2]*Stage
	for i := range stages {
		s, err := openStage(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Put(d.Digest, chunks[i]); err != nil {
			t.Fatal(err)
		}
		stages[i] = s
	}
	for i, left := range []int{1, 0} {
		if err := stages[i].Drop(d.Digest); err != nil {
			t.Fatal(err)
		}
		if entries, _ := os.ReadDir(filepath.Join(dir, "partial")); len(entries) != left {
			t.Errorf("after drop %d: %d blobs, want %d", i, len(entries), left)
		}
	}
}
