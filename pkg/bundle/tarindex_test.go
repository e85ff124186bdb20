package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// TestLargeBlob indexes a tar with a blob whose size no octal digits can tell, as archive/tar writes it.
func TestLargeBlob(t *testing.T) {
	const size = 9 << 30
	f, err := os.Create(t.TempDir() + "/large.tar")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	putEntry(t, w, tar.Header{Name: layoutFile, Format: tar.FormatUSTAR}, layoutOf([]byte("{}")))
	putEntry(t, w, tar.Header{Name: indexFile, Format: tar.FormatUSTAR}, []byte("{}"))
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: stray, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	at, err := f.Seek(size, io.SeekCurrent) // a hole
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(at + 2*tarBlock); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	in, err := indexTar(t.Context(), &openFile{File: f, size: at + 2*tarBlock})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := in.size(digest.FromString("x")); !ok || got != size {
		t.Errorf("the blob has %d bytes, want %d", got, int64(size))
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
}

// manyEntries is a tar of more entries than any bundle has, made as it is read.
type manyEntries struct {
	tarBytes
	start, header []byte
	sum           int // of header
}

func (m manyEntries) Size() int64 { return 1 << 50 }

func (m manyEntries) ReadAt(p []byte, at int64) (int, error) {
	if at < int64(len(m.start)) {
		return copy(p, m.start[at:]), nil
	}
	copy(p, m.header)
	n, sum := at/tarBlock, m.sum
	for i := len(blobFolder); i < len(stray); i, n = i+1, n>>1 { // a digest of zeros and ones
		p[i] = '0' + byte(n&1)
		sum += int(n & 1)
	}
	for i := 153; i >= 148; i, sum = i-1, sum>>3 {
		p[i] = '0' + byte(sum&7)
	}
	return len(p), nil
}

func TestManyEntries(t *testing.T) {
	data := draftFiles{{layoutFile, layoutOf([]byte("{}"))}, {indexFile, []byte("{}")}, {blobFolder + strings.Repeat("0", 64), nil}}.tar(t)
	m := manyEntries{start: data[:len(data)-3*tarBlock], header: data[len(data)-3*tarBlock : len(data)-2*tarBlock]}
	sum, err := strconv.ParseInt(string(m.header[148:154]), 8, 32)
	if err != nil {
		t.Fatal(err)
	}
	m.sum = int(sum)
	var was, is runtime.MemStats
	runtime.ReadMemStats(&was)
	_, err = indexTar(t.Context(), m)
	runtime.ReadMemStats(&is)
	if manifest.KindOf(err) != manifest.KindMalformed || !strings.Contains(err.Error(), "more than 262144 entries") {
		t.Errorf("it says %v", err)
	}
	if used := int64(is.HeapAlloc) - int64(was.HeapAlloc); used > 100<<20 {
		t.Errorf("it holds %d bytes", used)
	}
}

// TestTarSize reads sizes as archive/tar and other tools write them.
func TestTarSize(t *testing.T) {
	base256 := func(n uint64) string { return "\x80\x00\x00\x00" + string(binary.BigEndian.AppendUint64(nil, n)) }
	for raw, want := range map[string]int64{
		"00000000000\x00": 0,
		"00000000017\x00": 15,
		"0000000017 \x00": 15,
		"17\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00": 15,
		"77777777777\x00":                       octalMax,
		base256(octalMax + 1):                   octalMax + 1,
		base256(maxBlob):                        maxBlob,
		base256(octalMax):                       -1,
		base256(maxBlob + 1):                    -1,
		base256(0):                              -1,
		base256(1 << 63):                        -1,
		"\xff" + strings.Repeat("\xff", 11):     -1,
		"\x80\x01" + strings.Repeat("\x00", 10): -1,
		"            ":                          -1,
		"00000000018\x00":                       -1,
		"1\x002\x003\x004\x005\x006\x00":        -1,
		" 0000000017\x00":                       -1,
		"000000000017":                          -1,
		"0x000000017\x00":                       -1,
	} {
		got, ok := tarSize([]byte(raw))
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q is %d, %v; want %d", raw, got, ok, want)
		}
	}
}

// TestWriters indexes what other writers of ustar make of a bundle.
func TestWriters(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"owner":   {Uname: "root", Gname: "wheel", Uid: 1000, Gid: 100},
		"time":    {ModTime: time.Unix(1_700_000_000, 0)},
		"mode":    {Mode: 0o444},
		"modest":  {Mode: 0o600},
		"program": {Mode: 0o755},
	} {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, e := range draftRelease().entries() {
			h := h
			h.Name, h.Format = e.name, tar.FormatUSTAR
			putEntry(t, w, h, e.data)
		}
		w.Close()
		if err := verified(t, savedFile(t, buf.Bytes())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
