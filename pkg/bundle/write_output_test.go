package bundle

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// The folder has the same files as the tar, and go-containerregistry reads and validates its images.
func TestFolder(t *testing.T) {
	_, all, _ := writtenTar(t, release1(t, asGzip, true), WriteOptions{})
	dir := filepath.Join(t.TempDir(), "release")
	for range 2 { // the second replaces the first
		w, err := Write(t.Context(), release1(t, asGzip, true), dir+"/", WriteOptions{WorkDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if len(w.Paths) != 1 || w.Paths[0] != dir {
			t.Errorf("paths: %v", w.Paths)
		}
	}
	count := 0
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		count++
		raw, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		if err != nil || !bytes.Equal(raw, fileOf(t, all, filepath.ToSlash(rel))) {
			t.Errorf("%s: %v, or not as in the tar", rel, err)
		}
		return nil
	})
	if count != len(all) {
		t.Errorf("%d files, the tar has %d", count, len(all))
	}
	p, err := ggcr.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	index, err := p.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil || len(m.Manifests) != 3 {
		t.Fatalf("%v, %v", m, err)
	}
	img, err := index.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if config, err := img.ConfigName(); err != nil || config.String() != string(release1(t, asGzip, true).artifacts.Images[0].Config.Digest) {
		t.Errorf("configuration %s, %v", config, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*")); len(left) != 0 {
		t.Errorf("left beside: %v", left)
	}
}

// What a killed run left goes with the next one; what a live one holds is left alone.
func TestSweepBeside(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "release.tar")
	write := func() error {
		_, err := Write(t.Context(), release1(t, asGzip, true), to, WriteOptions{WorkDir: t.TempDir()})
		return err
	}
	live := &output{to: to, work: filepath.Join(dir, ".release.tar.clara-push-tmp")}
	if err := live.begin(); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(live.work, "001")
	if err := os.WriteFile(half, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(); manifest.KindOf(err) != manifest.KindLocked {
		t.Errorf("beside a live one: %v", err)
	}
	if _, err := os.Stat(half); err != nil {
		t.Errorf("the live one's file: %v", err)
	}
	live.lock.Close() // as when it is killed
	if err := write(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// A former bundle stays until the new one is whole.
func TestFormerStays(t *testing.T) {
	to := filepath.Join(t.TempDir(), "release.tar")
	if err := os.WriteFile(to, []byte("former"), 0o644); err != nil {
		t.Fatal(err)
	}
	src := release1(t, asGzip, true)
	d := src.artifacts.Models[0].Files[2].Digest
	src.blobs[d] = []byte("damaged")
	if _, err := Write(t.Context(), src, to, WriteOptions{WorkDir: t.TempDir()}); err == nil {
		t.Fatal("a damaged source was taken")
	}
	if raw, err := os.ReadFile(to); err != nil || string(raw) != "former" {
		t.Errorf("the former is %q, %v", raw, err)
	}
}

func TestDryRun(t *testing.T) {
	dir := t.TempDir()
	w, err := Write(t.Context(), release1(t, asPlain, false), filepath.Join(dir, "x.tar"), WriteOptions{WorkDir: t.TempDir(), DryRun: true})
	if err != nil || len(w.Images) != 2 || len(w.Models) != 1 || w.Index == "" || w.Size == 0 || w.Paths != nil {
		t.Errorf("%+v, %v", w, err)
	}
	real, _, _ := writtenTar(t, release1(t, asPlain, false), WriteOptions{})
	if real.Index != w.Index || real.Size != w.Size {
		t.Errorf("the dry run says %d bytes of index %s, it became %d of %s", w.Size, w.Index, real.Size, real.Index)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// A bundle that was written is read back where that is wanted, whatever form it has.
func TestReadBack(t *testing.T) {
	for name, o := range map[string]WriteOptions{"tar": {}, "parts": {Split: 3000}, "folder": {Folder: true}} {
		for verify, want := range map[Verify]bool{VerifyAlways: true, VerifyNever: false} {
			o.Verify, o.WorkDir = verify, t.TempDir()
			read := int64(0)
			o.Events = func(e manifest.Event) {
				if e.Step == manifest.StepVerify {
					read = e.Done
				}
			}
			w, err := Write(t.Context(), release1(t, asGzip, true), filepath.Join(t.TempDir(), "x"), o)
			if err != nil || w.Checked != want || (read > 0) != want {
				t.Errorf("%s: %v, checked %v, %d bytes read", name, err, w.Checked, read)
			}
		}
	}
}

func TestReadBackNotices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("what the medium has"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := &output{to: path}
	for name, c := range map[string]struct {
		text string
		kind manifest.Kind
	}{
		"right":   {"what the medium has", ""},
		"other":   {"what the medium hat", manifest.KindIntegrity},
		"shorter": {"what the medium", manifest.KindIntegrity},
	} {
		m := made{path: path, size: int64(len(c.text)), digest: digest.FromString(c.text)}
		if err := out.readBack(t.Context(), m, &progress{}); manifest.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FAT's limit is met before the first byte is written.
func TestFAT(t *testing.T) {
	large := &release{blobs: []blob{{Descriptor: manifest.Descriptor{Size: 3 << 30}}, {Descriptor: manifest.Descriptor{Size: 3 << 30}}}}
	huge := &release{blobs: []blob{{Descriptor: manifest.Descriptor{Size: 5 << 30}}}}
	small := &release{}
	for name, c := range map[string]struct {
		r    *release
		o    WriteOptions
		fat  bool
		hint string
	}{
		"large":                {large, WriteOptions{}, true, "--split 4GB"},
		"large, cut":           {large, WriteOptions{Split: 4e9}, true, ""},
		"large, cut too large": {large, WriteOptions{Split: 1 << 32}, true, "--split 4GB"},
		"large, folder":        {large, WriteOptions{Folder: true}, true, ""},
		"huge, folder":         {huge, WriteOptions{Folder: true}, true, "exFAT"},
		"large elsewhere":      {large, WriteOptions{}, false, ""},
		"small":                {small, WriteOptions{}, true, ""},
	} {
		out := &output{to: filepath.Join(t.TempDir(), "x"), medium: medium{fat: c.fat}}
		err := out.fits(c.o, c.r)
		if manifest.KindOf(err) == manifest.KindSpace {
			t.Skipf("there is no room for 6 GB here: %v", err)
		}
		var f *manifest.Failure
		switch {
		case c.hint == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.hint != "" && (!errors.As(err, &f) || !strings.Contains(f.Error(), "4 GiB") || !strings.Contains(f.Hint, c.hint)):
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoRoom(t *testing.T) {
	out := &output{to: filepath.Join(t.TempDir(), "x")}
	err := out.fits(WriteOptions{}, &release{blobs: []blob{{Descriptor: manifest.Descriptor{Size: 1 << 55}}}})
	if manifest.KindOf(err) != manifest.KindSpace {
		t.Errorf("%v", err)
	}
}

// A size that octal digits cannot tell is written in the one other form, without an extended header.
func TestHugeHeader(t *testing.T) {
	out := &output{work: t.TempDir()}
	s := newTarStore(out, WriteOptions{}, false, &release{})
	for _, size := range []int64{octalMax, octalMax + 1} {
		if err := s.put("blobs/sha256/x", manifest.Descriptor{Size: size}, func(io.Writer) error { return nil }); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(s.cut.files[0].path)
		if err != nil || len(raw) != tarBlock {
			t.Fatalf("the header of %d bytes takes %d, %v", size, len(raw), err)
		}
		if base256 := raw[124] == 0x80; base256 != (size > octalMax) {
			t.Errorf("size %d is written as %q", size, raw[124:136])
		}
		s.cut.close()
		os.Remove(s.cut.files[0].path)
		s = newTarStore(out, WriteOptions{}, false, &release{})
	}
}
