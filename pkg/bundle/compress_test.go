package bundle

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/opencontainers/go-digest"
)

// sample is 5 MiB that compress somewhat, the same every time.
func sample() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	raw := make([]byte, 5<<20+123)
	for n := range raw {
		raw[n] = byte(r.IntN(16)) + byte(n>>18)
	}
	return raw
}

func compressed(t testing.TB, c Compression, raw []byte, piece int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := compressor(&buf, c)
	if err != nil {
		t.Fatal(err)
	}
	for len(raw) > 0 {
		n := min(piece, len(raw))
		if _, err := w.Write(raw[:n]); err != nil {
			t.Fatal(err)
		}
		raw = raw[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// The bytes depend neither on the number of processors nor on the pieces in which they come.
func TestCompressionIsDeterministic(t *testing.T) {
	raw := sample()
	for _, c := range []Compression{Gzip, Zstd} {
		want := compressed(t, c, raw, len(raw))
		for _, procs := range []int{1, 2, 3, 16} {
			for _, piece := range []int{4093, 1 << 20, 3<<20 + 1} {
				before := runtime.GOMAXPROCS(procs)
				got := compressed(t, c, raw, piece)
				runtime.GOMAXPROCS(before)
				if !bytes.Equal(got, want) {
					t.Errorf("%q with %d processors and pieces of %d: other bytes", c, procs, piece)
				}
			}
		}
	}
}

// When this fails, a library makes other bytes of the same layer than before. That is no harm, but layers in the caches of
// users would not be what is made now: count packFormat up and note the new digests here.
func TestCompressionIsPinned(t *testing.T) {
	for c, want := range map[Compression]string{
		Gzip: "d492b226dfed376687602d27c538fd83f51e92a3ae631efc2d494bad49d7ce7c",
		Zstd: "f4ac1e2a17686e53422a112939bd8c336f36691b3ed7045fe4748172145001ab",
	} {
		got := compressed(t, c, sample(), 1<<20)
		if d := digest.FromBytes(got).Encoded(); d != want {
			t.Errorf("%q of format %s: %d bytes of digest %s, want %s", c, packFormat, len(got), d, want)
		}
	}
}

// What is written can be read by Go's own gzip, and an empty layer too.
func TestCompressionRoundTrip(t *testing.T) {
	for _, raw := range [][]byte{nil, {1}, sample()} {
		if got := gunzip(t, compressed(t, Gzip, raw, 1<<20)); !bytes.Equal(got, raw) {
			t.Errorf("%d bytes came back as %d", len(raw), len(got))
		}
		r, err := inflater(bytes.NewReader(compressed(t, Zstd, raw, 1<<20)), Zstd.mediaType())
		if err != nil {
			t.Fatal(err)
		}
		if got := allOf(t, r); !bytes.Equal(got, raw) {
			t.Errorf("zstd: %d bytes came back as %d", len(raw), len(got))
		}
		r.Close()
	}
}

func gunzip(t testing.TB, raw []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return allOf(t, r)
}

func allOf(t testing.TB, r io.Reader) []byte {
	t.Helper()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func BenchmarkCompress(b *testing.B) {
	raw := sample()
	for _, c := range []Compression{Gzip, Zstd} {
		b.Run(string("c"+c), func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				compressed(b, c, raw, 1<<20)
			}
		})
	}
}
