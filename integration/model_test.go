//go:build linux

package integration

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
)

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
	if r.Peak == 0 || r.Peak > memoryLimit {
		t.Errorf("the client took %d bytes of memory", r.Peak)
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
	m.remembers(dir)
	if full() && again.Took > 2*time.Second {
		t.Errorf("nothing changed, and it took %v", again.Took)
	}
	t.Logf("first push %.2f s; again %.2f s, %d bytes up", first.Took.Seconds(), again.Took.Seconds(), again.Up)

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

// remembers checks that the host reads no file again: it believes lies about what it remembers of them, and finds the model
// different.
func (m *models) remembers(dir string) {
	m.t.Helper()
	path := m.own("digests", filepath.Base(dir)+".json")
	raw, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	lies := regexp.MustCompile(`sha256:[0-9a-f]{8}`).ReplaceAll(raw, []byte("sha256:00000000"))
	if err := os.WriteFile(path, lies, 0o600); err != nil {
		m.t.Fatal(err)
	}
	r := m.model("--dry-run", dir)
	r.exits(m.t, 0)
	if r.Summary.Models[0].Place == "nothing" {
		m.t.Error("the host has read files again that had not changed")
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		m.t.Fatal(err)
	}
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
	// A path that begins with a dash is no flag behind "--", and as a name it is refused.
	if err := os.CopyFS(filepath.Join(m.Home, "-models", "dashed"), os.DirFS(m.local("plain"))); err != nil {
		t.Fatal(err)
	}
	m.placed("--", filepath.Join("-models", "dashed"))
	m.equals("dashed", filepath.Join(m.Home, "-models", "dashed"))
	m.model("--", "-models").exits(t, 22)
	m.model("-models").exits(t, 2)
	m.back("-rf").exits(t, 22)
	m.back("dashed").exits(t, 0)
	r := m.model(m.files("bad", map[string]content{"config.pbtxt": config("c"), "1/new\nline": text("x")}))
	r.exits(t, 22)
	m.tidy("plain", "with space", "quote'\"", "$(touch x)`id`", "mädchen 医学", "a&b;c|d")
}
