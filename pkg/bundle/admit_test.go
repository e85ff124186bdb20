package bundle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// TestAdmit: whoever may refuse a bundle is asked once, with what is in it, before a blob was read or kept.
func TestAdmit(t *testing.T) {
	m := draftRelease()
	m.sig = []byte("signed")
	whole := m.tar(t)
	until := offsetOf(t, whole, m.entries()[4].name) + tarBlock // the header of the first blob
	damaged := slices.Concat(whole[:until], bytes.Repeat([]byte("x"), len(whole)-until))
	folder := m.entries()
	for n := 4; n < len(folder); n++ {
		folder[n].data = []byte("x")
	}
	no := manifest.Fail(manifest.KindPolicy, "check signature", "no")
	dir := t.TempDir()
	for form, open := range map[string]func(o OpenOptions) (*Bundle, error){
		"tar":    func(o OpenOptions) (*Bundle, error) { return Open(t.Context(), savedFile(t, m.damaged(t)), o) },
		"parts":  func(o OpenOptions) (*Bundle, error) { return Open(t.Context(), cutUp(t, m.damaged(t), 3000), o) },
		"folder": func(o OpenOptions) (*Bundle, error) { return Open(t.Context(), folder.folder(t), o) },
		"stream": func(o OpenOptions) (*Bundle, error) { return Spool(t.Context(), bytes.NewReader(damaged), dir, o) },
	} {
		asked := 0
		o := OpenOptions{Admit: func(_ context.Context, index, signature []byte, created time.Time) error {
			asked++
			if !bytes.Equal(index, jsonOf(m.index)) || string(signature) != "signed" || created.Unix() != 1795356301 {
				t.Errorf("%s: asked about %d bytes, %q, %s", form, len(index), signature, created)
			}
			if blobs, _ := filepath.Glob(filepath.Join(dir, "*", filepath.FromSlash(blobFolder), "*")); len(blobs) > 0 {
				t.Errorf("%s: kept %v before it asked", form, blobs)
			}
			return no
		}}
		if _, err := open(o); err != no || asked != 1 {
			t.Errorf("%s: asked %d times, %v", form, asked, err)
		}
		o.Admit = func(context.Context, []byte, []byte, time.Time) error { return nil }
		if _, err := open(o); manifest.KindOf(err) != integrityKind && manifest.KindOf(err) != malformedKind {
			t.Errorf("%s: admitted, but %v", form, err)
		}
	}
}

// damaged is the tar with every blob damaged.
func (m *draft) damaged(t *testing.T) []byte {
	data := m.tar(t)
	for _, e := range m.blobs {
		data[offsetOf(t, data, e.name)+tarBlock] ^= 1
	}
	return data
}

// TestSpoolKeepsWhatIsNamed: of a stream nothing is written that no document before it names, or that has another size.
func TestSpoolKeepsWhatIsNamed(t *testing.T) {
	m := draftRelease()
	files := m.entries()
	first := len(files) - len(m.blobs)
	large := draftFile{blobPath(digest.FromString("large")), make([]byte, 4<<20)}
	longer := slices.Clone(files)
	longer[first].data = append(slices.Clone(longer[first].data), ' ')
	layer := files[len(files)-1]
	for name, c := range map[string]struct {
		tar   draftFiles
		until string // the entry whose contents must not be asked for
		kind  manifest.Kind
		says  string
	}{
		"first":             {slices.Insert(slices.Clone(files), first, large), large.name, integrityKind, "before a manifest"},
		"behind documents":  {slices.Insert(slices.Clone(files), len(files)-1, large), large.name, malformedKind, "nothing before it names"},
		"last":              {append(slices.Clone(files), large), large.name, malformedKind, "nothing before it names"},
		"size is another":   {longer, longer[first].name, integrityKind, "bytes instead of"},
		"a layer too early": {files.moved(layer.name, first), layer.name, integrityKind, "not in order"},
	} {
		t.Run(name, func(t *testing.T) {
			data := c.tar.tar(t)
			come := bytes.NewReader(data[:offsetOf(t, data, c.until)+tarBlock])
			dir := t.TempDir()
			_, err := Spool(t.Context(), io.MultiReader(come, unwanted{t, dir, c.until}), dir, OpenOptions{})
			if manifest.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v; want %s, with %q", manifest.KindOf(err), err, c.kind, c.says)
			}
		})
	}
}

// unwanted is the rest of a stream, of which the reader ahead may take some but the spool must keep nothing.
type unwanted struct {
	t    *testing.T
	dir  string
	name string
}

func (u unwanted) Read([]byte) (int, error) {
	time.Sleep(10 * time.Millisecond) // what was going to be written is
	kept, _ := filepath.Glob(filepath.Join(u.dir, "*", filepath.FromSlash(u.name)))
	for _, k := range kept {
		if info, err := os.Stat(k); err == nil {
			u.t.Errorf("%d bytes of %s are kept", info.Size(), u.name)
		}
	}
	return 0, errors.New("nobody should want this")
}
