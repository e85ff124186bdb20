package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// hostile is a tar that must be refused, whether it is a file or comes as a stream.
type hostile struct {
	tar  []byte
	kind manifest.Kind
	says string
}

const malformedKind, integrityKind = manifest.KindMalformed, manifest.KindIntegrity

// The names of blobs, "x" and nothing, that no bundle here names.
var (
	stray = blobPath(digest.FromString("x"))
	empty = blobPath(digest.FromString(""))
)

// hostileTars break the grammar of the tar.
func hostileTars(t *testing.T) map[string]hostile {
	m := draftRelease()
	good, files := m.tar(t), m.entries()
	last := files[len(files)-1].name
	// header adds one entry at the end, as archive/tar writes it.
	header := func(h tar.Header, data ...byte) []byte {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		putEntry(t, w, h, data)
		w.Flush()
		return inserted(good, len(good)-2*tarBlock, buf.Bytes())
	}
	link := func(kind byte, name, target string) []byte {
		return header(tar.Header{Typeflag: kind, Name: name, Linkname: target})
	}
	edit := func(name string, change func(header []byte)) []byte { return edited(t, good, name, change) }
	kind := func(k byte) []byte { return edit(last, func(b []byte) { b[156] = k }) }
	size := func(raw string) []byte { return edit(last, func(b []byte) { copy(b[124:136], raw) }) }
	large := func(magic string, n uint64) []byte {
		return edit(last, func(b []byte) {
			copy(b[257:265], magic)
			copy(b[124:136], "\x80\x00\x00\x00")
			binary.BigEndian.PutUint64(b[128:], n)
		})
	}
	pax := func(records string) []byte {
		return inserted(good, offsetOf(t, good, last), paxHeader(t, 'x', records))
	}
	return map[string]hostile{
		"parent name":          {header(tar.Header{Name: "../evil"}, 'x'), malformedKind, `"../evil", which no bundle has`},
		"parent name in blobs": {header(tar.Header{Name: "blobs/sha256/../../../evil"}, 'x'), malformedKind, "no bundle has"},
		"absolute name":        {header(tar.Header{Name: "/etc/evil"}, 'x'), malformedKind, "no bundle has"},
		"name with a dot":      {files.with("./"+stray, nil).tar(t), malformedKind, "no bundle has"},
		"any name":             {header(tar.Header{Name: "install.sh"}, 'x'), malformedKind, `"install.sh", which no bundle has`},
		"name on Windows":      {header(tar.Header{Name: `blobs\sha256\evil`}, 'x'), malformedKind, "no bundle has"},
		"control characters":   {header(tar.Header{Name: "\x1b[2Jevil"}, 'x'), malformedKind, `\x1b[2J`},
		"no name":              {edit(last, func(b []byte) { clear(b[:100]) }), malformedKind, "no proper name"},
		"name behind a zero":   {edit(last, func(b []byte) { b[99] = 'x' }), malformedKind, "no proper name"},
		"name in the prefix":   {edit(last, func(b []byte) { copy(b[345:], "etc") }), malformedKind, "more in it"},
		"digest in capitals":   {header(tar.Header{Name: strings.ToUpper(stray)}, 'x'), malformedKind, "no bundle has"},
		"blob in capitals":     {header(tar.Header{Name: blobFolder + strings.ToUpper(strings.Repeat("ab", 32))}, 'x'), malformedKind, "no bundle has"},
		"index in capitals":    {header(tar.Header{Name: "INDEX.JSON"}, 'x'), malformedKind, "no bundle has"},
		"digest too long":      {header(tar.Header{Name: stray + "0"}, 'x'), malformedKind, "no bundle has"},
		"digest far too long":  {edit(last, func(b []byte) { copy(b, blobFolder+strings.Repeat("0", 87)) }), malformedKind, "no bundle has"},
		"digest too short":     {header(tar.Header{Name: stray[:len(stray)-1]}, 'x'), malformedKind, "no bundle has"},

		"symbolic link":         {link(tar.TypeSymlink, stray, "/etc/passwd"), malformedKind, "but a symbolic link"},
		"symbolic link as root": {link(tar.TypeSymlink, "blobs", "/etc"), malformedKind, "but a symbolic link"},
		"hard link":             {link(tar.TypeLink, stray, last), malformedKind, "but a hard link"},
		"link in a file":        {edit(last, func(b []byte) { copy(b[157:], "/etc/passwd") }), malformedKind, "more in it"},
		"character device":      {header(tar.Header{Typeflag: tar.TypeChar, Name: stray, Devmajor: 1}), malformedKind, "but a character device"},
		"block device":          {header(tar.Header{Typeflag: tar.TypeBlock, Name: stray, Devmajor: 8}), malformedKind, "but a block device"},
		"device of a file":      {edit(last, func(b []byte) { copy(b[329:], "0000001\x00") }), malformedKind, "number of a device"},
		"fifo":                  {header(tar.Header{Typeflag: tar.TypeFifo, Name: stray}), malformedKind, "but a fifo"},
		"folder":                {header(tar.Header{Typeflag: tar.TypeDir, Name: "blobs/"}), malformedKind, "but a folder"},
		"contiguous file":       {kind('7'), malformedKind, "contiguous"},
		"unknown kind":          {kind('9'), malformedKind, "unknown kind"},
		"old kind":              {kind(0), malformedKind, "oldest kind"},
		"GNU sparse":            {kind('S'), malformedKind, "sparse"},
		"GNU long name":         {kind('L'), malformedKind, "long name"},
		"GNU long link":         {kind('K'), malformedKind, "long link"},
		"GNU volume":            {kind('V'), malformedKind, "volume"},
		"PAX sparse":            {pax("22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"), malformedKind, "an extended header"},
		"PAX size":              {pax("10 size=9\n"), malformedKind, "an extended header"},
		"PAX name":              {pax("16 path=../evil\n"), malformedKind, "an extended header"},
		"PAX global":            {inserted(good, 0, paxHeader(t, 'g', "10 size=0\n")), malformedKind, "global extended header"},
		"V7 header":             {edit(last, func(b []byte) { clear(b[257:345]) }), malformedKind, "no header of a POSIX tar"},
		"GNU header":            {edit(last, func(b []byte) { copy(b[257:265], "ustar  \x00") }), malformedKind, "no header of a POSIX tar"},
		"setuid":                {header(tar.Header{Name: stray, Mode: 0o4755}, 'x'), malformedKind, "a mode that no plain file has"},
		"sticky":                {header(tar.Header{Name: stray, Mode: 0o1644}, 'x'), malformedKind, "a mode that no plain file has"},
		"owner is no number":    {edit(last, func(b []byte) { copy(b[108:], "root") }), malformedKind, "where a number belongs"},

		"no size":             {size(strings.Repeat("\x00", 12)), malformedKind, "size that no file has"},
		"size is no number":   {size("0000000009x\x00"), malformedKind, "size that no file has"},
		"size has a sign":     {size("-0000000001\x00"), malformedKind, "size that no file has"},
		"size without end":    {size("777777777777"), malformedKind, "size that no file has"},
		"size is negative":    {large("ustar  \x00", 1<<63), malformedKind, "size that no file has"},
		"size wraps":          {large("ustar  \x00", 1<<64-1), malformedKind, "size that no file has"},
		"size is absurd":      {large("ustar  \x00", 1<<62), malformedKind, "size that no file has"},
		"size is too long":    {edit(last, func(b []byte) { copy(b[257:265], "ustar  \x00"); copy(b[124:], "\x80\x00\x01") }), malformedKind, "size that no file has"},
		"size is 255s":        {edit(last, func(b []byte) { copy(b[257:265], "ustar  \x00"); copy(b[124:], bytes.Repeat([]byte{255}, 12)) }), malformedKind, "size that no file has"},
		"small size, base256": {large("ustar  \x00", 12), malformedKind, "size that no file has"},
		"base256 in ustar":    {large("ustar\x0000", 1<<33), malformedKind, "no header of a POSIX tar"},
		"size beyond the end": {size("00100000000\x00"), integrityKind, "has 16777216 bytes, of which"},
		"terabyte":            {large("ustar  \x00", 1<<40), integrityKind, "has 1099511627776 bytes, of which"},

		"blob twice":             {append(slices.Clone(files), files[len(files)-1]).tar(t), malformedKind, "two entries named " + last},
		"other blob of the name": {append(slices.Clone(files), draftFile{last, []byte("other")}).tar(t), malformedKind, "two entries named"},
		"index twice":            {slices.Insert(slices.Clone(files), 2, files[1]).tar(t), malformedKind, "two entries named index.json"},
		"index at the end":       {files.moved("index.json", len(files)-1).tar(t), malformedKind, "where it does not belong"},
		"index before layout":    {files.moved("index.json", 0).tar(t), malformedKind, "where it does not belong"},
		"second index at end":    {append(slices.Clone(files), files[1]).tar(t), malformedKind, "where it does not belong"},
		"signature at the end":   {files.with("index.json.sig", []byte("x")).tar(t), malformedKind, "where it does not belong"},
		"manifest.json at end":   {files.moved("manifest.json", len(files)-1).tar(t), malformedKind, "where it does not belong"},
		"no layout":              {files.without("oci-layout").tar(t), malformedKind, "where it does not belong"},
		"no index":               {files.without("index.json").tar(t), malformedKind, "where it does not belong"},
		"layout only":            {files[:1].tar(t), malformedKind, "no index.json"},
		"empty tar":              {draftFiles{}.tar(t), malformedKind, "no oci-layout"},
		"unnamed blob":           {append(slices.Clone(files), draftFile{stray, []byte("x")}).tar(t), malformedKind, "has " + stray},
		"empty unnamed blob":     {append(slices.Clone(files), draftFile{empty, nil}).tar(t), malformedKind, "has " + empty},

		"hidden bytes":         {withByte(good, offsetOf(t, good, "index.json")-1, 'x'), malformedKind, "hidden behind oci-layout"},
		"one block of end":     {append(bytes.Clone(good[:len(good)-tarBlock]), bytes.Repeat([]byte("x"), tarBlock)...), malformedKind, "behind its end"},
		"trailing data":        {append(bytes.Clone(good), []byte("#!/bin/sh\n")...), malformedKind, "behind its end"},
		"trailing data, later": {append(append(bytes.Clone(good), make([]byte, 10000)...), 1), malformedKind, "behind its end"},
		"second tar":           {append(bytes.Clone(good), good...), malformedKind, "behind its end"},
		"endless zeros":        {append(bytes.Clone(good), make([]byte, maxTail+1)...), malformedKind, "behind its end"},
		"only zeros":           {make([]byte, 1<<16), malformedKind, "no oci-layout"},
		"no end":               {good[:len(good)-2*tarBlock], integrityKind, "it has no end"},
		"half an end":          {good[:len(good)-tarBlock], integrityKind, "it has no end"},
		"cut in contents":      {good[:offsetOf(t, good, last)+tarBlock+1], integrityKind, "of which 1 "},
		"cut in a header":      {good[:offsetOf(t, good, last)+100], integrityKind, "it has no end"},
		"cut behind contents":  {good[:len(good)-2*tarBlock-100], integrityKind, "it has no end"},
		"cut in the index":     {good[:tarBlock*3+100], integrityKind, "index.json has"},
		"header is damaged":    {withByte(good, offsetOf(t, good, last)+5, 'x'), integrityKind, "checksum"},
		"checksum is none":     {withByte(good, offsetOf(t, good, last)+150, 'x'), integrityKind, "checksum"},
		"nothing":              {nil, integrityKind, "it has no end; the file ends after 0 bytes"},
		"text":                 {bytes.Repeat([]byte("not a tar\n"), 1000), malformedKind, "no header of a POSIX tar"},
		"gzip":                 {zipped(good), malformedKind, "compressed with gzip"},
		"zstd":                 {append([]byte("\x28\xb5\x2f\xfd"), good...), malformedKind, "compressed with zstd"},
		"docker save":          {draftFiles{{"manifest.json", []byte("[]")}, {"0123.json", nil}}.tar(t), malformedKind, "where it does not belong"},
		"layout is large":      {files.with("oci-layout", make([]byte, maxLayout+1)).tar(t), malformedKind, "oci-layout has"},
		"index is large":       {files.with("index.json", bytes.Repeat([]byte(" "), maxIndex+1)).tar(t), malformedKind, "index.json has"},
		"manifest.json large":  {files.with("manifest.json", bytes.Repeat([]byte(" "), maxDocument+1)).tar(t), malformedKind, "manifest.json has"},
		"signature is large":   {slices.Insert(slices.Clone(files), 2, draftFile{"index.json.sig", make([]byte, maxSignature+1)}).tar(t), malformedKind, "index.json.sig has"},
	}
}

func TestHostileTars(t *testing.T) {
	tars := hostileTars(t)
	if len(tars) < 30 {
		t.Fatalf("only %d kinds", len(tars))
	}
	for name, c := range tars {
		t.Run(name, func(t *testing.T) { refused(t, c) })
	}
}

// refused sees that a tar is refused with the right kind, as a file and as a stream, in bounded time and memory, and that
// nothing of it is anywhere afterwards.
func refused(t *testing.T, c hostile) {
	t.Helper()
	box := t.TempDir()
	path, inner := filepath.Join(box, "release.tar"), filepath.Join(box, "a", "b", "c", "d")
	saveFile(t, path, c.tar)
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	before := tree(t, box)
	for form, open := range map[string]func() (*Bundle, error){
		"file":   func() (*Bundle, error) { return Open(t.Context(), path, OpenOptions{}) },
		"stream": func() (*Bundle, error) { return Spool(t.Context(), bytes.NewReader(c.tar), inner, OpenOptions{}) },
	} {
		var was, is runtime.MemStats
		runtime.ReadMemStats(&was)
		began := time.Now()
		b, err := open()
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: it took %s", form, took)
		}
		runtime.ReadMemStats(&is)
		if used := is.TotalAlloc - was.TotalAlloc; used > 100<<20 {
			t.Errorf("%s: it took %d bytes of memory", form, used)
		}
		if err == nil {
			b.Close()
			t.Fatalf("%s: it was let through", form)
		}
		if k := manifest.KindOf(err); k != c.kind && (form == "file" || k != manifest.KindSpace) || form == "file" && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %s: %v; want %s, with %q", form, manifest.KindOf(err), err, c.kind, c.says)
		}
		if after := tree(t, box); !slices.Equal(before, after) {
			t.Errorf("%s: it left %v", form, after)
		}
	}
}

// soon fails when f hangs.
func soon(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it hangs")
	}
}

// tree lists everything below dir.
func tree(t *testing.T, dir string) []string {
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		all = append(all, fmt.Sprint(path, d.Type()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// edited changes the header of an entry and makes its checksum right again.
func edited(t *testing.T, data []byte, name string, change func(header []byte)) []byte {
	data = bytes.Clone(data)
	at := offsetOf(t, data, name)
	header := data[at : at+tarBlock]
	change(header)
	sign(header)
	return data
}

// sign writes the checksum of a header.
func sign(header []byte) {
	copy(header[148:], "        ")
	sum := 0
	for _, b := range header[:tarBlock] {
		sum += int(b)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
}

// offsetOf is where the header of an entry begins.
func offsetOf(t *testing.T, data []byte, name string) int {
	at := bytes.Index(data, append([]byte(name), make([]byte, 100-len(name))...))
	if at < 0 || at%tarBlock != 0 {
		t.Fatalf("there is no entry %s", name)
	}
	return at
}

func inserted(data []byte, at int, what []byte) []byte {
	return slices.Insert(bytes.Clone(data), at, what...)
}

func withByte(data []byte, at int, b byte) []byte {
	data = bytes.Clone(data)
	data[at] = b
	return data
}

// paxHeader is an extended header with these records.
func paxHeader(t *testing.T, kind byte, records string) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	putEntry(t, w, tar.Header{Name: "PaxHeaders.0/x"}, []byte(records))
	w.Flush()
	return edited(t, buf.Bytes(), "PaxHeaders.0/x", func(b []byte) { b[156] = kind })
}
