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
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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

var liver = map[string]content{
	"config.pbtxt":      config("liver"),
	"1/model.graphdef":  random(20<<20, 1),
	"1/assets/":         {},
	"labels/labels.txt": text("background\nliver\ntumor\n"),
}

// Must show 1: the model on the host equals the source file by file, and nothing else is in the repository.
func TestModel(t *testing.T) {
	t.Parallel()
	m := newModels(t, lab.SSHDOptions{}, 0)
	dir := m.files("segmentation_liver_v1", liver)
	r := m.placed(dir)
	m.tidy("segmentation_liver_v1")
	if s := r.Summary; len(s.Models) != 1 || s.Models[0].Place != "create" || !s.Models[0].Done || s.Receipt.ID == "" || s.Repository != m.Repo {
		t.Errorf("the summary says %+v", s)
	}
	if r.PeakKiB > 150<<10 {
		t.Errorf("the client took %d KiB", r.PeakKiB)
	}
	back := m.back("segmentation_liver_v1")
	back.exits(t, 0)
	m.tidy()
	m.back("segmentation_liver_v1").exits(t, 21)
}

// Must show 2: what has not changed does not travel and is not touched.
func TestModelUnchanged(t *testing.T) {
	t.Parallel()
	m := newModels(t, lab.SSHDOptions{}, 0)
	size := int64(30 << 20)
	if full() {
		size = 300 << 20
	}
	dir := m.files("m", map[string]content{"config.pbtxt": config("v1"), "1/w.bin": random(size, 2), "2/w.bin": random(1<<20, 3)})
	first := m.placed(dir)
	before := stampsOf(t, m.live("m"))

	again := m.placed(dir)
	if again.Up > 64<<10 || again.Summary.Models[0].Place != "nothing" {
		t.Errorf("nothing changed, and %d bytes travelled: %+v", again.Up, again.Summary.Models)
	}
	if now := stampsOf(t, m.live("m")); !maps.Equal(now, before) {
		t.Errorf("nothing changed, and the tree was touched")
	}
	read := readBytes(t, m, func() { m.placed(dir) })
	t.Logf("first push %.2f s; again %.2f s, %d bytes up, the agent read %d", first.Took.Seconds(), again.Took.Seconds(), again.Up, read)

	m.files("m", map[string]content{"config.pbtxt": config("v2")})
	config := m.placed(dir)
	now := stampsOf(t, m.live("m"))
	for _, f := range []string{"1/w.bin", "2/w.bin", "1", "2"} {
		if now[f] != before[f] {
			t.Errorf("the config changed, and %s was touched: %+v then %+v", f, before[f], now[f])
		}
	}
	if config.Up > 64<<10 {
		t.Errorf("the config changed, and %d bytes travelled", config.Up)
	}
	for f, s := range before {
		if s.mtime >= now["config.pbtxt"].mtime {
			t.Errorf("%s had a time as new as the new config", f)
		}
	}

	m.files("m", map[string]content{"2/w.bin": random(1<<20, 4)})
	before = now
	m.placed(dir)
	now = stampsOf(t, m.live("m"))
	for _, f := range []string{"1/w.bin", "1", "config.pbtxt"} {
		if now[f] != before[f] {
			t.Errorf("version 2 changed, and %s was touched: %+v then %+v", f, before[f], now[f])
		}
	}
}

type fileStamp struct {
	inode        uint64
	mtime, ctime int64
}

func stampsOf(t testing.TB, root string) map[string]fileStamp {
	t.Helper()
	all := map[string]fileStamp{}
	for p := range sums(t, root, false) {
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(root, p), &st); err != nil {
			t.Fatal(err)
		}
		if p != "." {
			all[p] = fileStamp{st.Ino, st.Mtim.Nano(), st.Ctim.Nano()}
		}
	}
	return all
}

// readBytes makes a lie of every digest that the host remembers: if a push then finds the model different, it believed
// them, and read no file. It returns 0 then.
func readBytes(t *testing.T, m *models, push func()) int64 {
	t.Helper()
	// atime says whether a file was read where it is kept strictly; here the sizes are too small to measure otherwise.
	before := atimes(t, m.live("m"))
	push()
	after := atimes(t, m.live("m"))
	var read int64
	for p, a := range before {
		if after[p] != a {
			read++
		}
	}
	return read
}

func atimes(t *testing.T, root string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		var st syscall.Stat_t
		if err == nil && !e.IsDir() {
			err = syscall.Lstat(p, &st)
			all[p] = st.Atim.Nano()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Must show 6: whatever is wrong with the repository, the exit code says so and the live tree is untouched.
func TestModelRefused(t *testing.T) {
	t.Parallel()
	m := newModels(t, lab.SSHDOptions{}, 0)
	dir := m.files("m", map[string]content{"config.pbtxt": config("old"), "1/w.bin": text("w")})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		exit  int
		says  string
		setUp func()
		undo  func()
	}{
		{"read-only", 15, "read-only", func() {
			m.inside("mount", "--bind", m.Repo, m.Repo)
			m.inside("mount", "-o", "remount,bind,ro", m.Repo)
		}, func() { m.inside("umount", m.Repo) }},
		{"another file system", 15, "file system of its own", func() {
			m.inside("mount", "-t", "tmpfs", "none", m.Repo)
		}, func() { m.inside("umount", m.Repo) }},
		{"the model is a link", 15, "symbolic link", func() {
			must(os.Rename(m.live("m"), filepath.Join(m.Parent, "elsewhere")))
			must(os.Symlink(filepath.Join(m.Parent, "elsewhere"), m.live("m")))
		}, func() {
			must(os.Remove(m.live("m")))
			must(os.Rename(filepath.Join(m.Parent, "elsewhere"), m.live("m")))
		}},
		{"the model is a file", 15, "file of that name", func() {
			must(os.Rename(m.live("m"), filepath.Join(m.Parent, "elsewhere")))
			must(os.WriteFile(m.live("m"), []byte("x"), 0o644))
		}, func() {
			must(os.Remove(m.live("m")))
			must(os.Rename(filepath.Join(m.Parent, "elsewhere"), m.live("m")))
		}},
		{"the stage is a link", 15, "not a directory", func() {
			must(os.Rename(filepath.Join(m.Parent, ".clara-push"), filepath.Join(m.Parent, "aside")))
			must(os.Symlink("/tmp", filepath.Join(m.Parent, ".clara-push")))
		}, func() {
			must(os.Remove(filepath.Join(m.Parent, ".clara-push")))
			must(os.Rename(filepath.Join(m.Parent, "aside"), filepath.Join(m.Parent, ".clara-push")))
		}},
		{"others may write to the stage", 15, "can be written by others", func() { must(os.Chmod(m.own(), 0o777)) }, func() { must(os.Chmod(m.own(), 0o700)) }},
		{"the repository is missing", 15, "is not there", func() { must(os.Rename(m.Repo, m.Repo+"-away")) }, func() { must(os.Rename(m.Repo+"-away", m.Repo)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.t = t
			m.files("m", map[string]content{"config.pbtxt": config("old")})
			m.placed(dir)
			old := sums(t, m.live("m"), true)
			m.files("m", map[string]content{"config.pbtxt": config("new " + c.name)})
			c.setUp()
			r := m.model(dir)
			check := m.run("check", "--repository", m.Repo, "target")
			c.undo()
			r.exits(t, c.exit)
			r.says(t, c.says, "→")
			if strings.HasPrefix(c.name, "the model") {
				check.exits(t, 0)
			} else {
				check.exits(t, c.exit)
			}
			if now := sums(t, m.live("m"), true); !maps.Equal(now, old) {
				t.Errorf("the live tree changed: %v then %v", old, now)
			}
			m.placed(dir)
			m.tidy("m")
		})
	}
}

// inside runs a program among the mounts of the host, which are not seen outside.
func (m *models) inside(argv ...string) {
	m.t.Helper()
	out, err := exec.Command("nsenter", append([]string{"-m", "-t", strconv.Itoa(m.Host.PID())}, argv...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%v: %v: %s", argv, err, out)
	}
}

// Must show 6: a user who may not write is told what to do once.
func TestModelOfOthers(t *testing.T) {
	t.Parallel()
	m := newModels(t, lab.SSHDOptions{}, 0)
	dir := m.files("m", map[string]content{"config.pbtxt": config("c"), "1/w.bin": text("w")})
	m.User = "clara"
	r := m.model(dir)
	r.exits(t, 15)
	r.says(t, "--sudo", "sudo chown clara "+m.Repo)
	if err := os.Chown(m.Repo, 64118, 64118); err != nil {
		t.Fatal(err)
	}
	r = m.model(dir)
	r.exits(t, 15)
	advice := "sudo install -d -m 0700 -o clara " + filepath.Join(m.Parent, ".clara-push")
	r.says(t, advice)
	check := m.run("check", "--repository", m.Repo, "target")
	check.exits(t, 15)
	check.says(t, advice)
	if _, err := m.Host.SSH(t.Context(), strings.TrimPrefix(advice, "sudo ")); err != nil {
		t.Fatal(err)
	}
	m.placed(dir)
	m.files("m", map[string]content{"config.pbtxt": config("c2"), "1/w.bin": text("w2")})
	m.placed(dir)
	m.back("m").exits(t, 0)
	m.tidy("m")

	if err := os.Lchown(m.live("m"), 0, 0); err != nil { // as if somebody had copied it by hand
		t.Fatal(err)
	}
	before := sums(t, m.live("m"), true)
	r = m.model(dir)
	r.exits(t, 15)
	r.says(t, "chown -R clara")
	if now := sums(t, m.live("m"), true); !maps.Equal(now, before) {
		t.Errorf("the live tree changed")
	}
}

// Must show 6: with --sudo a repository that belongs to root is no obstacle.
func TestModelSudo(t *testing.T) {
	t.Parallel()
	m := newModels(t, lab.SSHDOptions{Sudo: true}, 0)
	dir := m.files("m", map[string]content{"config.pbtxt": config("c"), "1/w.bin": text("w")})
	m.User = "clara"
	m.model(dir).exits(t, 15)
	m.placed("--sudo", dir)
	m.run("check", "--sudo", "--repository", m.Repo, "target").exits(t, 0)
	m.tidy("m")
}

// Must show 6: a full stage is no space, and the live tree stays.
func TestModelNoSpace(t *testing.T) {
	t.Parallel()
	m := newModels(t, lab.SSHDOptions{}, 24)
	dir := m.files("m", map[string]content{"config.pbtxt": config("c"), "1/w.bin": random(6<<20, 1)})
	m.placed(dir)
	before := sums(t, m.live("m"), true)
	m.files("m", map[string]content{"1/w.bin": random(20<<20, 2)})
	r := m.model(dir)
	r.exits(t, 14)
	r.says(t, "need", "free")
	if r.Up > 256<<10 {
		t.Errorf("%d bytes travelled", r.Up)
	}
	// Somebody else fills it while files travel.
	m.files("m", map[string]content{"1/w.bin": random(9<<20, 3)})
	hog := filepath.Join(m.Parent, "hog")
	run := m.start("model", "--json", "--limit-rate", "4M", "--repository", m.Repo, dir, "target")
	run.sent(2<<20, time.Minute)
	f, err := os.Create(hog)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 1<<16))
	}
	f.Close()
	res := run.wait()
	res.exits(t, 14)
	if now := sums(t, m.live("m"), true); !maps.Equal(now, before) {
		t.Errorf("the live tree changed")
	}
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	m.placed(dir)
	m.tidy("m")
}

// Must show 7: odd names arrive, or are refused with a reason.
func TestModelNames(t *testing.T) {
	t.Parallel()
	m := newModels(t, lab.SSHDOptions{}, 0)
	odd := map[string]content{
		"config.pbtxt": config("c"), "1/with space.bin": text("a"), "1/quote'\".bin": text("b"), "1/-rf": text("c"), "1/$(touch x)`id`;&|.bin": text("d"),
		"1/mädchen 医学.bin": text("e"), "1/back\\slash": text("f"), "1/%s%n": text("g"), "1/.hidden": text("h"),
	}
	for _, name := range []string{"plain", "with space", "quote'\"", "$(touch x)`id`", "mädchen 医学", "a&b;c|d"} {
		m.placed(m.files(name, odd))
	}
	m.tidy("plain", "with space", "quote'\"", "$(touch x)`id`", "mädchen 医学", "a&b;c|d")
	for _, name := range []string{"new\nline", "-dash", ".hidden", "back\\slash", strings.Repeat("x", 250)} {
		r := m.model(m.files(name, map[string]content{"config.pbtxt": config("c")}))
		r.exits(t, 22)
		r.says(t, "cannot be the name", "→")
	}
	r := m.model(m.files("bad", map[string]content{"config.pbtxt": config("c"), "1/new\nline": text("x")}))
	r.exits(t, 22)
	m.tidy("plain", "with space", "quote'\"", "$(touch x)`id`", "mädchen 医学", "a&b;c|d")
}
