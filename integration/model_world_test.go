//go:build linux

package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// A models is a client of a host without an engine, and a repository of models there.
type models struct {
	*client
	Parent string // holds the repository and what clara-push keeps beside it
	Repo   string
	Source string // where the client has its models
}

// newModels starts a host with a repository of its own; on a file system of so many MiB if that is not 0.
func newModels(t *testing.T, o lab.SSHDOptions, mib int) *models {
	t.Helper()
	parent, err := os.MkdirTemp(theLab(t).Dir, "clara-")
	if err == nil {
		err = os.Chmod(parent, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	if mib > 0 { // before the host, whose mounts are its own
		lab.Skip(t, theLab(t).SmallFS(parent, mib))
	}
	theProgram := program(t)
	s, err := theLab(t).SSHD(t.Context(), o)
	lab.Skip(t, err)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop %s: %v", s.Name, err)
		}
	})
	h := &lab.Host{SSHD: s}
	install(t, theProgram, h)
	m := &models{client: newClient(t, nil, h), Parent: parent, Repo: filepath.Join(parent, "models"), Source: t.TempDir()}
	if err := os.Mkdir(m.Repo, 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

// a file of a model: content, or random bytes of a size.
type content struct {
	text   string
	random int64
	seed   uint64
}

func text(s string) content                  { return content{text: s} }
func random(size int64, seed uint64) content { return content{random: size, seed: seed} }
func (m *models) local(model string) string  { return filepath.Join(m.Source, model) }
func (m *models) live(path ...string) string {
	return filepath.Join(append([]string{m.Repo}, path...)...)
}
func (m *models) own(path ...string) string {
	return filepath.Join(append([]string{m.Parent, ".clara-push", "models"}, path...)...)
}

// config is a configuration that Triton's rules let pass; what makes it differ from another one.
func config(what string) content {
	return text("# " + what + `
backend: "lab"
input { name: "in" data_type: TYPE_FP32 dims: 1 }
output { name: "out" data_type: TYPE_FP32 dims: 1 }
`)
}

// files makes the files of a model in the client's folder; a path that ends in a slash is an empty folder.
func (m *models) files(model string, files map[string]content) string {
	m.t.Helper()
	for p, c := range files {
		at := filepath.Join(m.local(model), p)
		dir := filepath.Dir(at)
		if strings.HasSuffix(p, "/") {
			dir = at
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			m.t.Fatal(err)
		}
		if strings.HasSuffix(p, "/") {
			continue
		}
		if err := writeContent(at, c); err != nil {
			m.t.Fatal(err)
		}
	}
	return m.local(model)
}

func writeContent(path string, c content) error {
	if c.random == 0 {
		return os.WriteFile(path, []byte(c.text), 0o600)
	}
	raw := make([]byte, c.random)
	src := rand.NewChaCha8([32]byte{byte(c.seed), byte(c.seed >> 8), 1})
	_, _ = src.Read(raw)
	return os.WriteFile(path, raw, 0o600)
}

// model runs clara-push model on this repository and reads what it told.
func (m *models) model(args ...string) result {
	m.t.Helper()
	r := m.run(append(append([]string{"model", "--json", "--repository", m.Repo}, args...), "target")...)
	r.parse(m.t)
	return r
}

// placed is model that must end with code 0; then each model on the host equals its source.
func (m *models) placed(args ...string) result {
	m.t.Helper()
	r := m.model(args...)
	r.exits(m.t, 0)
	for _, a := range args {
		if filepath.IsAbs(a) && !strings.HasSuffix(a, ".pbtxt") {
			m.equals(filepath.Base(a), a)
		}
	}
	return r
}

func (m *models) back(model string) result {
	m.t.Helper()
	r := m.run("rollback", "--json", "--repository", m.Repo, "target", "--model", model)
	r.parse(m.t)
	return r
}

// sums lists a tree: digests of files by path, and folders; with modes, those too.
func sums(t testing.TB, root string, modes bool) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		what := "folder"
		if !e.IsDir() {
			raw, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(raw)
			what = hex.EncodeToString(sum[:])
		}
		if modes {
			what += fmt.Sprintf(" %o", info.Mode().Perm())
		}
		all[rel] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// equals checks that a model on the host is the folder at source, with the modes that Triton needs.
func (m *models) equals(model, source string) {
	m.t.Helper()
	want := map[string]string{}
	for p, what := range sums(m.t, source, false) {
		want[p] = what + map[bool]string{true: " 755", false: " 644"}[what == "folder"]
	}
	if got := sums(m.t, m.live(model), true); !maps.Equal(got, want) {
		m.t.Errorf("%s on the host is\n%v\nwant\n%v", model, got, want)
	}
}

// tidy checks that nothing is left of pushes but models and what is kept.
func (m *models) tidy(models ...string) {
	m.t.Helper()
	var names []string
	entries, err := os.ReadDir(m.Repo)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(models)
	if !slices.Equal(names, models) {
		m.t.Errorf("the repository holds %q, want %q", names, models)
	}
	for _, d := range []string{"files", "trees", "journal"} {
		if left, err := os.ReadDir(m.own(d)); err != nil || len(left) > 0 {
			m.t.Errorf("left in %s: %v %v", d, left, err)
		}
	}
}
