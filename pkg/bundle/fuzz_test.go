package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// tarBytes is a tar in memory.
type tarBytes struct{ *bytes.Reader }

func (tarBytes) Close() error                                          { return nil }
func (tarBytes) part(int64) string                                     { return "" }
func (tarBytes) blame(context.Context, int64, int64) ([]string, error) { return nil, nil }

// FuzzTar: of whatever tar is let through, another reader of tars sees the same entries and bytes, and every blob reads as its
// digest or fails.
func FuzzTar(f *testing.F) {
	m := newDraft()
	m.image("a:1", []byte("layer"))
	f.Add(m.tar(f))
	f.Add(append(m.tar(f), make([]byte, 2048)...))
	m.model("m", map[string]string{"config.pbtxt": "x", "1/": "", "1/model.onnx": "y"})
	f.Add(m.tar(f))
	f.Add(m.differential(m.layer(0, 0).Digest).tar(f))
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = bytes.Clone(raw)
		for at := 0; at+tarBlock <= len(raw); at += tarBlock {
			if b := raw[at : at+tarBlock]; bytes.HasPrefix(fieldMagic.of(b), ustar[:5]) {
				sign(b) // or nothing would get past the checksum
			}
		}
		in, err := indexTar(t.Context(), tarBytes{bytes.NewReader(raw)})
		if err != nil {
			expected(t, err)
			return
		}
		sameEntries(t, in, raw)
		b, err := read(t.Context(), in, FormTar, "fuzz", OpenOptions{})
		if err != nil {
			expected(t, err)
			return
		}
		for _, d := range b.all() {
			data, err := readBlob(t, b, d, 0)
			if err == nil && digest.FromBytes(data) != d {
				t.Errorf("%s reads as something else", d)
			}
		}
		sane(t, b)
	})
}

// expected wants a failure to be of the bundle.
func expected(t *testing.T, err error) {
	t.Helper()
	if k := manifest.KindOf(err); k != manifest.KindMalformed && k != manifest.KindIntegrity && k != manifest.KindModel {
		t.Errorf("%s: %v", k, err)
	}
}

func sameEntries(t *testing.T, in *tarFile, raw []byte) {
	r := tar.NewReader(bytes.NewReader(raw))
	n := 0
	for ; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("archive/tar reads it otherwise: %v", err)
		}
		theirs, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		open := func() (section, error) { return in.document(h.Name) }
		if d, ok := blobDigest(h.Name); ok {
			open = func() (section, error) { return in.blob(d) }
		}
		s, err := open()
		if err != nil || h.Typeflag != tar.TypeReg {
			t.Fatalf("only archive/tar sees %q, %c: %v", h.Name, h.Typeflag, err)
		}
		if ours, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size())); err != nil || !bytes.Equal(ours, theirs) {
			t.Errorf("archive/tar reads %q otherwise: %v", h.Name, err)
		}
	}
	if n != len(in.documents)+len(in.blobs) {
		t.Errorf("archive/tar sees %d entries, not %d", n, len(in.documents)+len(in.blobs))
	}
}

// sane sees that names in the artifacts are fit to become paths and tags.
func sane(t *testing.T, b *Bundle) {
	a, err := b.Artifacts(t.Context(), manifest.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range a.Images {
		named, err := reference.ParseNormalizedNamed(i.Ref)
		if err != nil || reference.IsNameOnly(named) || manifest.Plain(i.Ref) != i.Ref {
			t.Errorf("let the name %q through", i.Ref)
		}
		for _, l := range i.Layers {
			if l.Size < 0 || l.Unpacked < 0 || manifest.CheckDigest(l.Digest) != nil || manifest.CheckDigest(l.DiffID) != nil {
				t.Errorf("let the layer %+v through", l)
			}
		}
	}
	for _, m := range a.Models {
		if !fs.ValidPath(m.Name) || path.Dir(m.Name) != "." {
			t.Errorf("let the model %q through", m.Name)
		}
		for _, f := range m.Files {
			if !fs.ValidPath(f.Path) || f.Path == "." || strings.ContainsAny(f.Path, "\x00\n") || f.Size < 0 {
				t.Errorf("let the file %q through", f.Path)
			}
		}
		for _, d := range m.Dirs {
			if !fs.ValidPath(d) || d == "." {
				t.Errorf("let the folder %q through", d)
			}
		}
	}
}

// What stands in fuzzed documents for the digests of others, which change with them.
const manifestHere, configHere = "MANIFEST", "CONFIG"

// FuzzDocuments: whatever index.json, manifest and configuration say, what is let through is fit to be used.
func FuzzDocuments(f *testing.F) {
	m := newDraft()
	m.image("a:1", []byte("layer"))
	m.model("m", map[string]string{"config.pbtxt": "x", "1/": "", "1/model.onnx": "y"})
	for n := range m.index.Manifests {
		index := m.index
		index.Manifests = index.Manifests[n : n+1]
		named := m.named(n)
		man, config := named[0], named[1]
		raw := strings.Replace(string(jsonOf(index)), index.Manifests[0].Digest.Encoded(), manifestHere, 1)
		text := strings.Replace(string(man.data), path.Base(config.name), configHere, 1)
		f.Add([]byte(raw), []byte(text), config.data)
		if _, err := withDocuments(f, []byte(raw), []byte(text), config.data); err != nil {
			f.Fatalf("what is right is refused: %v", err)
		}
	}
	f.Fuzz(func(t *testing.T, index, man, config []byte) {
		b, err := withDocuments(t, index, man, config)
		if err != nil {
			expected(t, err)
			return
		}
		sane(t, b)
	})
}

// withDocuments reads a bundle of these documents and some blobs.
func withDocuments(t testing.TB, index, man, config []byte) (*Bundle, error) {
	man = bytes.ReplaceAll(man, []byte(configHere), []byte(digest.FromBytes(config).Encoded()))
	index = bytes.ReplaceAll(index, []byte(manifestHere), []byte(digest.FromBytes(man).Encoded()))
	a := draftFiles{{layoutFile, layoutOf(index)}, {indexFile, index}}
	for _, data := range [][]byte{man, config, zipped([]byte("layer")), []byte("x"), []byte("y")} {
		a = a.with(blobPath(digest.FromBytes(data)), data)
	}
	in, err := indexTar(t.Context(), tarBytes{bytes.NewReader(a.tar(t))})
	if err != nil {
		t.Fatal(err)
	}
	return read(t.Context(), unstrict{in}, FormTar, "fuzz", OpenOptions{})
}

// unstrict has no blobs but those that are named.
type unstrict struct{ container }

func (unstrict) stray(func(key) bool) string { return "" }

// FuzzParts: a list of parts that is let through names files beside it, whose sizes add up.
func FuzzParts(f *testing.F) {
	d := digest.FromString("x")
	f.Add(jsonOf(partsDocument{Size: 3, Index: d, Parts: []part{{"a.tar.001", 2, d}, {"a.tar.002", 1, d}}}))
	f.Add(jsonOf(map[string]any{"size": 1, "index": d, "parts": []any{map[string]any{"name": "x.001", "size": 1, "digest": d}}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := parseParts(raw)
		if err != nil {
			expected(t, err)
			return
		}
		var sum int64
		seen := map[string]bool{}
		for _, p := range l.Parts {
			if !fs.ValidPath(p.Name) || path.Base(p.Name) != p.Name || seen[p.Name] || p.Size <= 0 || manifest.CheckDigest(p.Digest) != nil {
				t.Errorf("let the part %+v through", p)
			}
			seen[p.Name] = true
			sum += p.Size
		}
		if sum != l.Size || sum <= 0 {
			t.Errorf("the parts have %d bytes, the list says %d", sum, l.Size)
		}
	})
}

// FuzzLayout: oci-layout either fits index.json or is refused.
func FuzzLayout(f *testing.F) {
	index := []byte("{}")
	f.Add(layoutOf(index))
	f.Add([]byte(`{"imageLayoutVersion":"1.0.0"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := checkLayout(raw, index); err != nil {
			expected(t, err)
		} else if escaped := bytes.Contains(raw, []byte(`\u`)); !escaped && !bytes.Contains(raw, []byte(digest.FromBytes(index))) {
			t.Errorf("let %q through", raw)
		}
	})
}
