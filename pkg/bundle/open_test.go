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
	"testing/iotest"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// TestOpen opens one release in every form.
func TestOpen(t *testing.T) {
	m := draftRelease()
	m.sig = []byte("signed")
	whole := m.tar(t)
	forms := map[string]struct {
		path string
		form Form
	}{
		"tar":              {savedFile(t, whole), FormTar},
		"tar, padded":      {savedFile(t, append(bytes.Clone(whole), make([]byte, 10240)...)), FormTar},
		"tar, other name":  {filepath.Join(filepath.Dir(savedFile(t, whole)), "release.tar"), FormTar},
		"folder":           {m.entries().folder(t), FormFolder},
		"parts":            {cutUp(t, whole, 3000), FormParts},
		"parts, the list":  {cutUp(t, whole, 3000) + ".parts.json", FormParts},
		"parts, the first": {cutUp(t, whole, 3000) + ".001", FormParts},
		"parts, any":       {cutUp(t, whole, 3000) + ".003", FormParts},
		"parts, a folder":  {filepath.Dir(cutUp(t, whole, 3000)), FormParts},
		"parts, tiny":      {cutUp(t, whole, 97), FormParts},
		"parts, one":       {cutUp(t, whole, 1<<20), FormParts},
		"parts, no list":   {withoutList(t, cutUp(t, whole, 3000)), FormParts},
	}
	for name, c := range forms {
		t.Run(name, func(t *testing.T) {
			b, err := Open(t.Context(), c.path, OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if b.form != c.form {
				t.Errorf("it is %s, want %s", b.form, c.form)
			}
			if !bytes.Equal(b.Index(), jsonOf(m.index)) || string(b.Signature()) != "signed" || b.Digest() != digest.FromBytes(jsonOf(m.index)) {
				t.Error("index or signature are not what was written")
			}
			isRelease(t, b, m)
		})
	}
}

// TestSpool reads the release from a stream, into a folder that goes when it is closed.
func TestSpool(t *testing.T) {
	m := draftRelease()
	dir := t.TempDir()
	for name, r := range map[string]io.Reader{
		"at once":     bytes.NewReader(m.tar(t)),
		"in pieces":   iotest.OneByteReader(bytes.NewReader(m.tar(t))),
		"halves":      iotest.HalfReader(bytes.NewReader(m.tar(t))),
		"end at once": iotest.DataErrReader(bytes.NewReader(m.tar(t))),
	} {
		t.Run(name, func(t *testing.T) {
			told := ""
			b, err := Spool(t.Context(), r, dir, OpenOptions{Events: func(e manifest.Event) { told = e.Text }})
			if err != nil {
				t.Fatal(err)
			}
			isRelease(t, b, m)
			if b.form != FormStream || !strings.Contains(told, dir) {
				t.Errorf("it is %s, it told %q", b.form, told)
			}
			info, err := os.Stat(b.in.(*spool).dir)
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the folder is %v, %v", info, err)
			}
			for range 2 {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}
			if left := tree(t, dir); len(left) != 1 {
				t.Errorf("it left %v", left)
			}
		})
	}
}

// TestSpoolSweeps sees that what a killed process left goes with the next, and what a living one has does not.
func TestSpoolSweeps(t *testing.T) {
	whole := draftRelease().tar(t)
	dir := t.TempDir()
	spooled := func() *Bundle {
		b, err := Spool(t.Context(), bytes.NewReader(whole), dir, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	living, killed := spooled(), spooled()
	defer living.Close()
	old := time.Now().Add(-time.Hour)
	for _, b := range []*Bundle{living, killed} {
		if err := os.Chtimes(filepath.Join(b.in.(*spool).dir, spoolLock), old, old); err != nil {
			t.Fatal(err)
		}
	}
	killed.in.(*spool).lock.Close()
	next := spooled()
	defer next.Close()
	for b, want := range map[*Bundle]bool{living: true, killed: false, next: true} {
		if got := exists(b.in.(*spool).dir); got != want {
			t.Errorf("%s is there: %v, want %v", b.in.(*spool).dir, got, want)
		}
	}
}

// TestSpoolStops sees that nothing stays of a stream that breaks off.
func TestSpoolStops(t *testing.T) {
	whole := draftRelease().tar(t)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, c := range map[string]struct {
		ctx  context.Context
		from io.Reader
		dir  string
		kind manifest.Kind
	}{
		"it fails":     {t.Context(), io.MultiReader(bytes.NewReader(whole[:9000]), iotest.ErrReader(errors.New("broken"))), t.TempDir(), manifest.KindIntegrity},
		"it ends":      {t.Context(), bytes.NewReader(whole[:9000]), t.TempDir(), manifest.KindIntegrity},
		"nobody waits": {stopped, bytes.NewReader(whole), t.TempDir(), manifest.KindInterrupted},
		"no folder":    {t.Context(), bytes.NewReader(whole), filepath.Join(t.TempDir(), "none"), manifest.KindPermission},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Spool(c.ctx, c.from, c.dir, OpenOptions{}); manifest.KindOf(err) != c.kind {
				t.Errorf("%s: %v, want %s", manifest.KindOf(err), err, c.kind)
			}
			if _, err := os.Stat(c.dir); err == nil && len(tree(t, c.dir)) != 1 {
				t.Errorf("it left %v", tree(t, c.dir))
			}
		})
	}
}

// TestSpoolSilence: whoever waits for a stream that is silent can be stopped, wherever in the bundle that is.
func TestSpoolSilence(t *testing.T) {
	whole := draftRelease().tar(t)
	for _, come := range []int{0, 100, 2000, 9000, len(whole) - 100, len(whole)} {
		from, to := io.Pipe()
		ctx, stop := context.WithCancel(t.Context())
		dir := t.TempDir()
		go func() {
			to.Write(whole[:come])
			stop()
		}()
		soon(t, func() {
			if _, err := Spool(ctx, from, dir, OpenOptions{}); manifest.KindOf(err) != manifest.KindInterrupted {
				t.Errorf("after %d bytes: %s: %v", come, manifest.KindOf(err), err)
			}
		})
		to.Close()
		if left := tree(t, dir); len(left) != 1 {
			t.Errorf("after %d bytes it left %v", come, left)
		}
	}
}

func TestDifferential(t *testing.T) {
	m := draftRelease()
	base, weights := m.layer(0, 0), digest.FromBytes(noiseOf(5, 3000))
	m.differential(base.Digest, weights)
	b, err := Open(t.Context(), savedFile(t, m.tar(t)), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	a, err := b.Artifacts(t.Context(), manifest.Platform{})
	if err != nil || !slices.Equal(a.Lacking, []manifest.Digest{base.Digest, weights}) {
		t.Errorf("it lacks %v, %v", a.Lacking, err)
	}
	c := b.Contents()
	if c.Lacking != 2 || c.LackingSize != base.Size+3000 || !c.Images[1].Layers[0].Lacking || c.Images[1].Layers[1].Lacking || !c.Models[0].Files[0].Lacking {
		t.Errorf("its contents are %+v", c)
	}
	if want := "release-1.tar (" + string(digest.FromString("base")) + ")"; a.Provenance.Base != want {
		t.Errorf("it comes with the base %q, want %q", a.Provenance.Base, want)
	}
	if c.Base != digest.FromString("base") || c.BaseName != "release-1.tar" {
		t.Errorf("its base is %s, %s", c.Base, c.BaseName)
	}
	if _, err := readBlob(t, b, base.Digest, 0); manifest.KindOf(err) != manifest.KindNotFound {
		t.Errorf("a blob that is left out gives %v", err)
	}
	if err := b.Verify(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
	if err := b.Select("model=whole"); err != nil {
		t.Fatal(err)
	}
	if a, _ := b.Artifacts(t.Context(), manifest.Platform{}); len(a.Lacking) != 0 {
		t.Errorf("what is selected lacks %v", a.Lacking)
	}
}

func TestSelect(t *testing.T) {
	b, err := Open(t.Context(), savedFile(t, draftRelease().tar(t)), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for only, want := range map[string]string{
		"":                                 "app_livertumor:1.2.3 viewer:latest segmentation whole",
		"image=viewer":                     "viewer:latest",
		"image=docker.io/library/viewer":   "viewer:latest",
		"image=viewer:latest model=whole":  "viewer:latest whole",
		"image=viewer image=viewer:latest": "viewer:latest",
		"model=whole":                      "whole",
		"image=viewer:2":                   "not-found",
		"image=../x":                       "not-found",
		"model=WHOLE":                      "not-found",
		"model=":                           "not-found",
		"viewer":                           "usage",
		"layer=viewer":                     "usage",
	} {
		err := b.Select(strings.Fields(only)...)
		got := string(manifest.KindOf(err))
		if err == nil {
			a, _ := b.Artifacts(t.Context(), manifest.Platform{})
			var names []string
			for _, i := range a.Images {
				names = append(names, i.Ref)
			}
			for _, m := range a.Models {
				names = append(names, m.Name)
			}
			got = strings.Join(names, " ")
		}
		if got != want {
			t.Errorf("%q leaves %q, want %q (%v)", only, got, want, err)
		}
	}
}

func withoutList(t *testing.T, path string) string {
	if err := os.Remove(path + ".parts.json"); err != nil {
		t.Fatal(err)
	}
	return path
}

// isRelease sees that b is the release, and every blob in it.
func isRelease(t *testing.T, b *Bundle, m *draft) {
	t.Helper()
	a, err := b.Artifacts(t.Context(), manifest.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	want := manifest.Provenance{
		Bundle: b.Digest(), Application: "livertumor", Version: "1.2.3", Created: time.Date(2026, 11, 22, 14, 5, 1, 0, time.UTC),
	}
	if *a.Provenance != want || len(a.Lacking) != 0 {
		t.Errorf("provenance %+v, lacking %v", *a.Provenance, a.Lacking)
	}
	app, whole, segmentation := a.Images[0], a.Models[1], a.Models[0]
	if app.Ref != "app_livertumor:1.2.3" || len(app.Layers) != 3 || app.Layers[1].Unpacked != 700 || app.Layers[1].DiffID != digest.FromBytes(noiseOf(2, 700)) {
		t.Errorf("the image is %+v", app)
	}
	if a.Images[1].Layers[0].Digest != app.Layers[0].Digest || app.Platform.Architecture != "amd64" {
		t.Errorf("the second image is %+v", a.Images[1])
	}
	if whole.Name != "whole" || !slices.Equal(whole.After, []string{"segmentation"}) || !slices.Equal(whole.Dirs, []string{"1"}) {
		t.Errorf("the model is %+v", whole)
	}
	if f := segmentation.Files; len(f) != 3 || f[1].Path != "2/model.onnx" || f[1].Size != 900 {
		t.Errorf("the model's files are %+v", f)
	}
	for _, e := range m.blobs {
		d, _ := blobDigest(e.name)
		if got, err := readBlob(t, b, d, 0); err != nil || !bytes.Equal(got, e.data) {
			t.Errorf("%s: %d bytes, %v", d, len(got), err)
		}
		if got, err := readBlob(t, b, d, 2); err != nil || !bytes.Equal(got, e.data[2:]) {
			t.Errorf("%s from byte 2 on: %d bytes, %v", d, len(got), err)
		}
	}
	if err := b.Verify(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
}

func readBlob(t *testing.T, b *Bundle, d manifest.Digest, offset int64) ([]byte, error) {
	r, err := b.Open(t.Context(), manifest.Descriptor{Digest: d, Size: manifest.UnknownSize}, offset)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// TestFlips changes every byte of a small bundle in two ways, one bit and all. Each time it is refused, or everything is as it was.
func TestFlips(t *testing.T) {
	m := newDraft()
	m.image("app:1", noiseOf(7, 300), noiseOf(8, 20))
	m.model("seg", map[string]string{"config.pbtxt": "name: \"seg\"", "1/": "", "1/model.onnx": "weights"})
	m.sig = []byte("signature")
	whole := m.tar(t)
	path := savedFile(t, whole)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	original, err := contentsOf(t, path)
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for at := range whole {
		for _, flip := range []byte{1 << (at % 8), 0xff} {
			if _, err := f.WriteAt([]byte{whole[at] ^ flip}, int64(at)); err != nil {
				t.Fatal(err)
			}
			if got, err := contentsOf(t, path); err == nil {
				passed++
				if got != original {
					t.Fatalf("byte %d as %#x goes unnoticed:\n%s\n%s", at, whole[at]^flip, got, original)
				}
			} else if k := manifest.KindOf(err); k != manifest.KindIntegrity && k != manifest.KindMalformed {
				t.Fatalf("byte %d as %#x is %s: %v", at, whole[at]^flip, k, err)
			}
		}
		if _, err := f.WriteAt(whole[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if want := 2 * len(m.sig); passed != want { // the signature is for others to check
		t.Errorf("%d flips made no difference, want %d", passed, want)
	}
}

// contentsOf opens and verifies the bundle at path, and writes down what is in it and every digest of its bytes.
func contentsOf(t *testing.T, path string) (string, error) {
	b, err := Open(t.Context(), path, OpenOptions{})
	if err != nil {
		return "", err
	}
	defer b.Close()
	if err := b.Verify(t.Context(), nil, nil); err != nil {
		return "", err
	}
	a, err := b.Artifacts(t.Context(), manifest.Platform{})
	if err != nil {
		return "", err
	}
	lines := []string{string(jsonOf(b.Contents())), string(jsonOf(a))}
	for _, d := range b.all() {
		raw, err := readBlob(t, b, d, 0)
		if err != nil {
			return "", err
		}
		lines = append(lines, digest.FromBytes(raw).String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}
