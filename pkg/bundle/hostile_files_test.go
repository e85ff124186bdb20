//go:build unix

package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// TestHostileFolders makes folders that are no bundles.
func TestHostileFolders(t *testing.T) {
	m := draftRelease()
	blob := m.blobs[0].name
	replace := func(name string, with func(path string) error) func(dir string) error {
		return func(dir string) error {
			path := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			return with(path)
		}
	}
	// linked moves a file out and puts a link to it in its place.
	linked := func(name string) func(dir string) error {
		return func(dir string) error {
			path, out := filepath.Join(dir, filepath.FromSlash(name)), filepath.Join(t.TempDir(), "out")
			if err := os.Rename(path, out); err != nil {
				return err
			}
			return os.Symlink(out, path)
		}
	}
	inside := func(dir string) error {
		path := filepath.Join(dir, filepath.FromSlash(blob))
		if err := os.Rename(path, filepath.Join(dir, "moved")); err != nil {
			return err
		}
		return os.Symlink("../../moved", path)
	}
	fifo := func(path string) error { return syscall.Mkfifo(path, 0o644) }
	mkdir := func(path string) error { return os.Mkdir(path, 0o755) }
	write := func(data []byte) func(string) error {
		return func(path string) error { return os.WriteFile(path, data, 0o644) }
	}
	remove := func(string) error { return nil }
	for name, c := range map[string]struct {
		change func(dir string) error
		kind   manifest.Kind
		says   string
	}{
		"index is a link":      {linked("index.json"), malformedKind, "index.json is not a regular file"},
		"layout is a link":     {linked("oci-layout"), malformedKind, "oci-layout is not a regular file"},
		"docker is a link":     {linked("manifest.json"), malformedKind, "manifest.json is not a regular file"},
		"blob is a link":       {linked(blob), malformedKind, "not a regular file"},
		"blob is a link in it": {inside, malformedKind, "not a regular file"},
		"blobs is a link":      {linked("blobs"), malformedKind, "blobs is not a folder"},
		"sha256 is a link":     {linked("blobs/sha256"), malformedKind, "blobs/sha256 is not a folder"},
		"sha256 is a file":     {replace("blobs/sha256", write(nil)), malformedKind, "is not a folder"},
		"blob is a fifo":       {replace(blob, fifo), malformedKind, "not a regular file"},
		"index is a fifo":      {replace("index.json", fifo), malformedKind, "not a regular file"},
		"blob is a folder":     {replace(blob, mkdir), malformedKind, "not a regular file"},
		"blob is missing":      {replace(blob, remove), integrityKind, "incomplete: layer 0"},
		"no blobs":             {replace("blobs", remove), malformedKind, "no folder blobs"},
		"no index":             {replace("index.json", remove), malformedKind, "no index.json"},
		"no layout":            {replace("oci-layout", remove), malformedKind, "no oci-layout"},
		"blob is other":        {replace(m.named(0)[1].name, write(flipped(m.named(0)[1].data))), integrityKind, "is damaged"},
		"blob is shorter":      {replace(blob, write([]byte("x"))), integrityKind, "has 1 bytes instead of"},
		"unnamed blob":         {replace(stray, write([]byte("x"))), malformedKind, "which nothing in it names"},
		"rubbish among blobs":  {replace("blobs/sha256/evil.sh", write(nil)), malformedKind, "lies among the blobs"},
		"index is large":       {replace("index.json", write(make([]byte, maxIndex+1))), malformedKind, "index.json has"},
		"hidden among blobs":   {replace("blobs/sha256/._x", write([]byte("x"))), "", ""},
		"other files":          {replace("System Volume Information", mkdir), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := m.entries().folder(t)
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			soon(t, func() { refusedPath(t, dir, c.kind, c.says) })
		})
	}
}

// refusedPath sees that the bundle at path is refused, or with an empty kind is not.
func refusedPath(t *testing.T, path string, kind manifest.Kind, says string) {
	t.Helper()
	err := verified(t, path)
	if manifest.KindOf(err) != kind || err != nil && !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v; want %s, with %q", manifest.KindOf(err), err, kind, says)
	}
}

// TestHostileParts changes parts and their list.
func TestHostileParts(t *testing.T) {
	whole := draftRelease().tar(t)
	list := func(from, to string) func(path string) error {
		return func(path string) error {
			raw, err := os.ReadFile(path + partsSuffix)
			if err != nil {
				return err
			}
			changed := strings.Replace(string(raw), from, to, 1)
			if changed == string(raw) {
				return fmt.Errorf("%q is not in the list", from)
			}
			return os.WriteFile(path+partsSuffix, []byte(changed), 0o644)
		}
	}
	part := func(n int, change func(path string) error) func(path string) error {
		return func(path string) error { return change(fmt.Sprintf("%s.%03d", path, n)) }
	}
	cut := func(n int64) func(string) error { return func(path string) error { return os.Truncate(path, n) } }
	linked := func(path string) error {
		out := filepath.Join(t.TempDir(), "out")
		if err := os.Rename(path, out); err != nil {
			return err
		}
		return os.Symlink(out, path)
	}
	fifo := func(path string) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return syscall.Mkfifo(path, 0o644)
	}
	flip := func(at int) func(string) error {
		return func(path string) error {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			raw[at] ^= 4
			return os.WriteFile(path, raw, 0o644)
		}
	}
	missing := manifest.KindNotFound
	for name, c := range map[string]struct {
		change func(path string) error
		kind   manifest.Kind
		says   string
	}{
		"none":              {func(string) error { return nil }, "", ""},
		"missing":           {part(3, os.Remove), missing, "parts are missing: release.tar.003"},
		"first is missing":  {part(1, os.Remove), missing, "parts are missing: release.tar.001"},
		"last is missing":   {part(len(whole)/2000+1, os.Remove), missing, fmt.Sprintf("parts are missing: release.tar.%03d", len(whole)/2000+1)},
		"shorter":           {part(2, cut(1999)), integrityKind, "release.tar.002 has 1999 bytes instead of 2000"},
		"longer":            {part(2, cut(2001)), integrityKind, "release.tar.002 has 2001 bytes instead of 2000"},
		"empty":             {part(2, cut(0)), integrityKind, "release.tar.002 has 0 bytes"},
		"a link":            {part(2, linked), malformedKind, "release.tar.002 is not a regular file"},
		"a fifo":            {part(2, fifo), malformedKind, "release.tar.002 is not a regular file"},
		"header is damaged": {part(1, flip(3)), integrityKind, "the part release.tar.001 is not as release.tar.parts.json says"},
		"magic is damaged":  {part(1, flip(258)), integrityKind, "the part release.tar.001 is not as release.tar.parts.json says"},
		"two are exchanged": {func(p string) error { return swap(p+".003", p+".004") }, "any", "release.tar.00"},
		"list is no JSON":   {list("{", "["), malformedKind, ""},
		"list has more":     {list(`"size"`, `"x":1,"size"`), malformedKind, "unknown field"},
		"list in capitals":  {list(`"size"`, `"Size"`), malformedKind, `"Size"`},
		"list is empty": {func(p string) error {
			return os.WriteFile(p+partsSuffix, []byte(`{"size":0,"index":"","parts":[]}`), 0o644)
		}, malformedKind, "names 0 parts"},
		"list is large":        {func(p string) error { return os.WriteFile(p+partsSuffix, make([]byte, maxPartsDocument+1), 0o644) }, malformedKind, "at most"},
		"name leads out":       {list("release.tar.002", "../release.tar.002"), malformedKind, "cannot be the name of part 2"},
		"name is absolute":     {list("release.tar.001", "/etc/passwd"), malformedKind, "cannot be the name of part 1"},
		"name twice":           {list("release.tar.002", "release.tar.001"), malformedKind, "cannot be the name of part 2"},
		"name is other":        {list("release.tar.002", "other.002"), malformedKind, "cannot be the name of part 2"},
		"name is hidden":       {list("release.tar.001", ".release.tar.001"), malformedKind, "cannot be the name of part 1"},
		"size is negative":     {list(`"size":2000`, `"size":-2000`), malformedKind, "cannot have -2000 bytes"},
		"size is nothing":      {list(`"size":2000`, `"size":0`), malformedKind, "cannot have 0 bytes"},
		"size is absurd":       {list(`"size":2000`, `"size":9223372036854775807`), malformedKind, "cannot have"},
		"size is a fraction":   {list(`"size":2000`, `"size":2000.5`), malformedKind, ""},
		"sizes do not add up":  {list(fmt.Sprint(`"size":`, len(whole)), `"size":1`), malformedKind, "the list says 1"},
		"digest is none":       {list(`"digest":"sha256:`, `"digest":"sha256:../`), malformedKind, "not a sha256 digest"},
		"index is no digest":   {list(`"index":"sha256:`, `"index":"sha512:`), malformedKind, "not a sha256 digest"},
		"list of other bundle": {list(string(indexOf(t, whole)), string(digest.FromString("x"))), integrityKind, "the list of parts says"},
		"list is a link":       {func(p string) error { return linked(p + partsSuffix) }, malformedKind, "not a regular file"},
		"list is gone":         {func(p string) error { return os.Remove(p + partsSuffix) }, "", ""},
		"list and last are": {func(p string) error {
			os.Remove(p + partsSuffix)
			return os.Remove(fmt.Sprintf("%s.%03d", p, len(whole)/2000+1))
		}, integrityKind, "it has no end"},
		"list and another are":      {func(p string) error { os.Remove(p + partsSuffix); return os.Remove(p + ".003") }, missing, "parts are missing: release.tar.003"},
		"list is, another is empty": {func(p string) error { os.Remove(p + partsSuffix); return os.Truncate(p+".003", 0) }, integrityKind, "release.tar.003 has 0 bytes"},
		"list and first are":        {func(p string) error { os.Remove(p + partsSuffix); return os.Remove(p + ".001") }, missing, "there is release.tar.002, but neither release.tar.001 nor release.tar.parts.json"},
		"first two are exchanged":   {func(p string) error { return swap(p+".001", p+".002") }, integrityKind, "the parts release.tar.001, release.tar.002 are not as release.tar.parts.json says"},
		"one is another bundle's": {func(p string) error {
			other := newDraft()
			other.image("other:1", noiseOf(9, 9000))
			return os.WriteFile(p+".002", other.tar(t)[2000:4000], 0o644)
		}, integrityKind, "the part release.tar.002 is not as release.tar.parts.json says: it is damaged, or of another bundle"},
		"missing and shorter": {func(p string) error { return errors.Join(os.Remove(p+".001"), os.Truncate(p+".004", 7)) }, missing,
			fmt.Sprintf("1 of %d parts are missing: release.tar.001; the part release.tar.004 has 7 bytes instead of 2000", len(whole)/2000+1)},
		"two are shorter": {func(p string) error { return errors.Join(os.Truncate(p+".002", 9), os.Truncate(p+".004", 7)) }, integrityKind,
			"the part release.tar.002 has 9 bytes instead of 2000; the part release.tar.004 has 7"},
		"all but the list are": {func(p string) error { return dropParts(p) }, missing, "parts are missing"},
		"everything is":        {func(p string) error { os.Remove(p + partsSuffix); return dropParts(p) }, missing, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			path := cutUp(t, whole, 2000)
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			soon(t, func() {
				if c.kind == "any" {
					if err := verified(t, path); err == nil || !strings.Contains(err.Error(), c.says) {
						t.Errorf("%v, want %q", err, c.says)
					}
					return
				}
				refusedPath(t, path, c.kind, c.says)
			})
		})
	}
}

// TestPartsWithoutList: where nobody can tell what is wrong with parts, the hint says what is missing for that.
func TestPartsWithoutList(t *testing.T) {
	whole := draftRelease().tar(t)
	path := withoutList(t, cutUp(t, whole, 2000))
	if err := swap(path+".002", path+".003"); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), path, OpenOptions{})
	var f *manifest.Failure
	if !errors.As(err, &f) || !strings.Contains(f.Hint, "there is no release.tar.parts.json") {
		t.Errorf("%v", err)
	}
}

func swap(a, b string) error {
	x, err := os.ReadFile(a)
	if err != nil {
		return err
	}
	if err := os.Rename(b, a); err != nil {
		return err
	}
	return os.WriteFile(b, x, 0o644)
}

func dropParts(path string) error {
	parts, err := filepath.Glob(path + ".[0-9]*")
	for _, p := range parts {
		if err := os.Remove(p); err != nil {
			return err
		}
	}
	return err
}

// TestOpenPath opens what is no bundle at all.
func TestOpenPath(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	two := t.TempDir()
	whole := draftRelease().tar(t)
	for _, name := range []string{"a", "b"} {
		saveFile(t, filepath.Join(two, name+".001"), whole)
	}
	numbered := filepath.Join(t.TempDir(), "release-1.100")
	saveFile(t, numbered, whole)
	beside := filepath.Join(t.TempDir(), "release")
	saveFile(t, beside+".001", whole)
	saveFile(t, beside, bytes.Repeat([]byte("x"), 5000))
	alone := filepath.Join(t.TempDir(), "release.tar")
	saveFile(t, alone, whole)
	saveFile(t, filepath.Join(filepath.Dir(alone), "README"), []byte("x"))
	headless := cutUp(t, whole, 2000)
	if err := errors.Join(os.Remove(headless+".001"), os.Remove(headless+partsSuffix)); err != nil {
		t.Fatal(err)
	}
	const noFirst = "neither release.tar.001 nor release.tar.parts.json"
	for name, c := range map[string]struct {
		path string
		kind manifest.Kind
		says string
	}{
		"a folder around a tar":        {filepath.Dir(alone), manifest.KindUsage, "release.tar in it may be one"},
		"parts without the first":      {headless, manifest.KindNotFound, noFirst},
		"a part without the first":     {headless + ".003", manifest.KindNotFound, "there is release.tar.003, but " + noFirst},
		"a folder without a first one": {filepath.Dir(headless), manifest.KindNotFound, noFirst},

		"nothing":              {filepath.Join(dir, "none"), manifest.KindNotFound, "no such file"},
		"no list":              {filepath.Join(dir, "none.parts.json"), manifest.KindNotFound, "no such file"},
		"no name":              {"", manifest.KindNotFound, ""},
		"an empty folder":      {t.TempDir(), malformedKind, "holds no bundle"},
		"a fifo":               {fifo, manifest.KindUsage, "neither a file nor a folder"},
		"a device":             {"/dev/zero", manifest.KindUsage, "neither a file nor a folder"},
		"parts of two bundles": {two, manifest.KindUsage, "parts of 2 bundles"},
		"one of two":           {filepath.Join(two, "b"), "", ""},
		"a tar with a number":  {numbered, "", ""},
		"a file beside parts":  {beside, malformedKind, "no header"},
		"parts beside a file":  {beside + ".001", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			soon(t, func() { refusedPath(t, c.path, c.kind, c.says) })
		})
	}
}

// Whoever names something else by mistake is not told to mistrust a maker.
func TestNeverABundle(t *testing.T) {
	dir := t.TempDir()
	for name, raw := range map[string][]byte{
		"text": bytes.Repeat([]byte("not a tar\n"), 1000), "saved": draftFiles{{"manifest.json", []byte("[]")}, {"0123.json", nil}}.tar(t),
	} {
		saveFile(t, filepath.Join(dir, name), raw)
	}
	for _, path := range []string{filepath.Join(dir, "text"), filepath.Join(dir, "saved"), t.TempDir()} {
		_, err := Open(t.Context(), path, OpenOptions{})
		var f *manifest.Failure
		if !errors.As(err, &f) || f.Kind != manifest.KindMalformed || f.Hint != hintOther {
			t.Errorf("%s: it says %v, %+v", path, err, f)
		}
	}
}
