//go:build unix

package source

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// modelDir writes a small model and returns its directory. Its files are old enough for their digests to be remembered.
func modelDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	for p, text := range map[string]string{"config.pbtxt": "name: \"m\"", "1/model.onnx": "weights", "1/copy.onnx": "weights"} {
		writeFile(t, filepath.Join(dir, p), text)
	}
	if err := os.MkdirAll(filepath.Join(dir, "2"), 0o755); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * tooYoung)
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// openModel reads one model, with an own cache.
func openModel(t *testing.T, dir string, o ModelOptions) (*Models, manifest.Model) {
	t.Helper()
	if o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	m, err := OpenModels(t.Context(), []string{dir}, o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := m.Artifacts(t.Context(), manifest.Platform{})
	if err != nil || len(a.Models) != 1 {
		t.Fatal(a, err)
	}
	return m, a.Models[0]
}

// A model directory is described as it is: empty folders are kept, links inside it followed, another configuration put in.
func TestOpenModels(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other")
	writeFile(t, other, "name: \"other\"")
	for name, c := range map[string]struct {
		change      func(dir string) error
		config      string
		files, dirs string
	}{
		"as it is":        {nil, "", "1/copy.onnx 1/model.onnx config.pbtxt", "1 2"},
		"link to a file":  {func(d string) error { return os.Symlink("../1/model.onnx", d+"/2/model.onnx") }, "", "1/copy.onnx 1/model.onnx 2/model.onnx config.pbtxt", "1 2"},
		"link to a dir":   {func(d string) error { return os.Symlink("1", d+"/3") }, "", "1/copy.onnx 1/model.onnx 3/copy.onnx 3/model.onnx config.pbtxt", "1 2 3"},
		"absolute link":   {func(d string) error { return os.Symlink(d+"/1/model.onnx", d+"/x") }, "", "1/copy.onnx 1/model.onnx config.pbtxt x", "1 2"},
		"another config":  {nil, other, "1/copy.onnx 1/model.onnx config.pbtxt", "1 2"},
		"a config at all": {func(d string) error { return os.Remove(d + "/config.pbtxt") }, other, "1/copy.onnx 1/model.onnx config.pbtxt", "1 2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := modelDir(t)
			if c.change != nil {
				if err := c.change(dir); err != nil {
					t.Fatal(err)
				}
			}
			m, model := openModel(t, dir+"/", ModelOptions{Config: c.config})
			var files []string
			for _, f := range model.Files {
				files = append(files, f.Path)
			}
			if got := strings.Join(files, " "); got != c.files || strings.Join(model.Dirs, " ") != c.dirs || model.Name != "m" {
				t.Errorf("%s holds %s and %v", model.Name, got, model.Dirs)
			}
			i := slices.Index(files, "config.pbtxt")
			if got, err := readModelFile(t, m, model.Files[i].Descriptor); err != nil || c.config != "" && got != "name: \"other\"" {
				t.Errorf("the configuration is %q, %v", got, err)
			}
		})
	}
}

func readModelFile(t *testing.T, m *Models, d manifest.Descriptor) (string, error) {
	t.Helper()
	r, err := m.Open(t.Context(), d, 0)
	if err != nil {
		return "", err
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	return string(raw), err
}

// What cannot be a model's is refused by its kind.
func TestOpenModelsRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(dir string) error
		config string
		kind   manifest.Kind
		says   string
	}{
		"link out":      {func(d string) error { return os.Symlink("/etc/passwd", d+"/1/x") }, "", manifest.KindModel, "leads out"},
		"link up":       {func(d string) error { return os.Symlink("../..", d+"/1/x") }, "", manifest.KindModel, "leads out"},
		"link to none":  {func(d string) error { return os.Symlink("none", d+"/1/x") }, "", manifest.KindModel, "link to nothing"},
		"link to above": {func(d string) error { return os.Symlink("..", d+"/1/x") }, "", manifest.KindModel, "circle"},
		"pipe":          {func(d string) error { return syscall.Mkfifo(d+"/1/x", 0o644) }, "", manifest.KindModel, "neither a file nor a folder"},
		"control":       {func(d string) error { return os.Mkdir(d+"/1/a\nb", 0o755) }, "", manifest.KindModel, "cannot be the path"},
		"gone":          {os.RemoveAll, "", manifest.KindNotFound, "no such file"},
		"no config":     {nil, "/none", manifest.KindNotFound, "no such file"},
		"dir as config": {func(d string) error {
			return errors.Join(os.Remove(d+"/config.pbtxt"), os.Mkdir(d+"/config.pbtxt", 0o755))
		}, "/etc/hostname", manifest.KindModel, "a directory is where"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := modelDir(t)
			if c.change != nil {
				if err := c.change(dir); err != nil {
					t.Fatal(err)
				}
			}
			_, err := OpenModels(t.Context(), []string{dir}, ModelOptions{Config: c.config, CacheDir: t.TempDir()})
			if manifest.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %v", err)
			}
		})
	}
	dir := modelDir(t)
	_, err := OpenModels(t.Context(), []string{dir, dir}, ModelOptions{CacheDir: t.TempDir()})
	if manifest.KindOf(err) != manifest.KindUsage {
		t.Errorf("two of one name: %v", err)
	}
	_, err = OpenModels(t.Context(), []string{dir, modelDir(t)}, ModelOptions{Config: dir + "/config.pbtxt", CacheDir: t.TempDir()})
	if manifest.KindOf(err) != manifest.KindUsage {
		t.Errorf("one configuration for two: %v", err)
	}
}

// A digest is remembered as long as the file looks the same in every respect; then the file is not read.
func TestDigestsAreRemembered(t *testing.T) {
	lie := manifest.Digest("sha256:" + strings.Repeat("0", 64))
	for name, c := range map[string]struct {
		change  func(path string) error
		believe bool
	}{
		"unchanged":  {nil, true},
		"rewritten":  {func(p string) error { return os.WriteFile(p, []byte("WEIGHTS"), 0o600) }, false},
		"time alone": {func(p string) error { return os.Chtimes(p, time.Now(), time.Now()) }, false},
		"same size and time": {func(p string) error { // as cp -p does: only ctime and inode tell
			info, err := os.Stat(p)
			return errors.Join(err, os.Remove(p), os.WriteFile(p, []byte("WEIGHTS"), 0o600), os.Chtimes(p, info.ModTime(), info.ModTime()))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, cache := modelDir(t), t.TempDir()
			if c.change == nil { // a time that lies ahead, as from a machine whose clock is wrong, is no reason to read it again
				ahead := time.Now().Add(time.Hour)
				if err := os.Chtimes(filepath.Join(dir, "1/model.onnx"), ahead, ahead); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * tooYoung)
				c.change = func(string) error { return nil }
			}
			openModel(t, dir, ModelOptions{CacheDir: cache})
			file := filepath.Join(cache, "digests.json")
			raw, err := os.ReadFile(file)
			var known map[string]seen
			if err := errors.Join(err, json.Unmarshal(raw, &known)); err != nil || len(known) != 3 {
				t.Fatalf("%d are remembered: %v", len(known), err)
			}
			for p, s := range known {
				s.Digest = lie
				known[p] = s
			}
			raw, err = json.Marshal(known)
			if err := errors.Join(err, os.WriteFile(file, raw, 0o600), c.change(filepath.Join(dir, "1/model.onnx"))); err != nil {
				t.Fatal(err)
			}
			for _, believe := range []bool{c.believe, false} {
				m, model := openModel(t, dir, ModelOptions{CacheDir: cache})
				for _, f := range model.Files {
					if f.Path == "1/model.onnx" && (f.Digest == lie) != believe {
						t.Errorf("its digest is %s", f.Digest)
					}
				}
				m.Distrust() // after which nobody believes it
			}
		})
	}
}

// A file that changes after it was described is never sent as what it was.
func TestModelFileChanges(t *testing.T) {
	big := strings.Repeat("x", int(manifest.SmallFile)+1)
	for name, text := range map[string]string{"small": "weights", "large": big} {
		t.Run(name, func(t *testing.T) {
			dir := modelDir(t)
			path := filepath.Join(dir, "1/other.onnx")
			writeFile(t, path, text+"1")
			m, model := openModel(t, dir, ModelOptions{})
			i := slices.IndexFunc(model.Files, func(f manifest.File) bool { return f.Path == "1/other.onnx" })
			d := model.Files[i].Descriptor
			if got, err := readModelFile(t, m, d); err != nil || got != text+"1" {
				t.Fatalf("unchanged: %v", err)
			}
			r, err := m.Open(t.Context(), d, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			time.Sleep(2 * tooYoung) // else the clock of the file system may not have moved
			writeFile(t, path, text+"2")
			if _, err := io.ReadAll(r); manifest.KindOf(err) != manifest.KindIntegrity {
				t.Errorf("while it was read: %v", err)
			}
			if _, err := readModelFile(t, m, d); manifest.KindOf(err) != manifest.KindIntegrity {
				t.Errorf("before it was read: %v", err)
			}
		})
	}
}

// Of a file that has grown no more is read than what was described; then it is said that it changed.
func TestModelFileGrows(t *testing.T) {
	dir := modelDir(t)
	path := filepath.Join(dir, "1/other.onnx")
	writeFile(t, path, "a few")
	m, model := openModel(t, dir, ModelOptions{})
	i := slices.IndexFunc(model.Files, func(f manifest.File) bool { return f.Path == "1/other.onnx" })
	writeFile(t, path, "a few more")
	r, err := m.Open(t.Context(), model.Files[i].Descriptor, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, len("a few"))); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); manifest.KindOf(err) != manifest.KindIntegrity || !strings.Contains(err.Error(), "changed while") {
		t.Errorf("it says %v", err)
	}
}
