//go:build linux

package loader

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A repository is one, however it is written and by which link it is reached: a model has one history there.
func TestRepositoryByOtherNames(t *testing.T) {
	for name, other := range map[string]func(p *placer) string{
		"a slash at the end": func(p *placer) string { return p.repo + "/" },
		"two slashes":        func(p *placer) string { return p.dir + "//models" },
		"a link": func(p *placer) string {
			link := filepath.Join(p.dir, "link")
			if err := os.Symlink("models", link); err != nil {
				t.Fatal(err)
			}
			return link
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlacer(t)
			q := &placer{t: t, dir: p.dir, repo: other(p)}
			changed := baseTree.with(tree{"config.pbtxt": "changed"})
			p.pushed("m", baseTree, manifest.Options{Keep: 1})
			q.pushed("m", changed, manifest.Options{Keep: 1})
			s, err := p.open().Status(t.Context())
			if err != nil || len(s.Models) != 1 || s.Models[0].Drift != manifest.DriftNone || s.Models[0].Repository != p.repo {
				t.Errorf("the status is %+v, %v", s.Models, err)
			}
			p.holdsAfterRollback("m", baseTree)
			if _, err := q.rollback("m"); err != nil || exists(p.at("m")) {
				t.Errorf("the model is there, or %v", err)
			}
		})
	}
}

// Whoever may not place models is told commands. After those of one advice, all is well: nobody is sent back twice.
func TestAdviceWorks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give folders to others")
	}
	const user = 65534
	for name, c := range map[string]struct {
		prepare func(repo, stage string) error
		says    string
	}{
		"nothing is there":        {func(string, string) error { return nil }, "is not there"},
		"the parent is not there": {func(repo, _ string) error { return os.Remove(filepath.Dir(repo)) }, "is not there"},
		"it belongs to root":      {func(repo, _ string) error { return os.Mkdir(repo, 0o755) }, "may not write"},
		"the stage is missing": {func(repo, _ string) error {
			return errors.Join(os.Mkdir(repo, 0o755), os.Chown(repo, user, user))
		}, "the stage beside"},
		"root has pushed": {func(repo, _ string) error {
			if err := errors.Join(os.Mkdir(repo, 0o755), os.Chown(repo, user, user)); err != nil {
				return err
			}
			_, err := openRepository(repo)
			return err
		}, "belongs to user 0"},
		"root has pushed to its own": {func(repo, _ string) error {
			if err := os.Mkdir(repo, 0o755); err != nil {
				return err
			}
			_, err := openRepository(repo)
			return err
		}, "may not write"},
		"others may write to the stage": {func(repo, stage string) error {
			return errors.Join(os.Mkdir(repo, 0o755), os.Chown(repo, user, user), os.Mkdir(stage, 0o700), os.Chown(stage, user, user), os.Chmod(stage, 0o777))
		}, "written by others"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("/var/tmp", "clara-push-") // the user must reach it
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			repo := filepath.Join(dir, "common", "models")
			stage := filepath.Join(dir, "common", stageName)
			if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Dir(repo), 0o755), c.prepare(repo, stage)); err != nil {
				t.Fatal(err)
			}
			f := openAs(t, user, repo)
			if f == nil || !strings.Contains(f.Error(), c.says) {
				t.Fatalf("it says %v", f)
			}
			_, advice, found := strings.Cut(f.Hint, "once: ")
			if !found {
				t.Fatalf("it advises %q", f.Hint)
			}
			if out, err := exec.Command("sh", "-c", strings.ReplaceAll(advice, "sudo ", "")).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", advice, err, out)
			}
			if f := openAs(t, user, repo); f != nil {
				t.Errorf("after %q it says %v and advises %q", advice, f, f.Hint)
			}
		})
	}
}

// A repository or a model that is mounted by itself is refused before anything is sent, also when it is of the same file system.
func TestMountsAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	for name, c := range map[string]struct {
		on   string // below the parent of the repository
		says string
	}{
		"the repository": {"models", "is a file system of its own, so nothing beside it"},
		"a model":        {"models/m", "is a file system of its own, which nothing"},
		"a version":      {"models/m/1", "is a file system of its own, which nothing"},
	} {
		for _, kind := range []string{"bind", "tmpfs"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				p := newPlacer(t)
				p.pushed("m", baseTree, manifest.Options{})
				from, on := filepath.Join(p.dir, "from"), filepath.Join(p.dir, c.on)
				if err := os.CopyFS(from, os.DirFS(on)); err != nil {
					t.Fatal(err)
				}
				var flags uintptr
				if kind == "bind" {
					flags = syscall.MS_BIND
				}
				if err := syscall.Mount(from, on, map[string]string{"tmpfs": "tmpfs"}[kind], flags, ""); err != nil {
					t.Skipf("this machine lets nobody mount: %v", err)
				}
				defer syscall.Unmount(on, syscall.MNT_DETACH)
				h := p.open()
				_, err := plan(h, manifest.Options{}, nil, baseTree.with(tree{"config.pbtxt": "new"}).model("m"))
				if manifest.KindOf(err) != manifest.KindPermission || !strings.Contains(err.Error(), c.says) {
					t.Errorf("it says %v", err)
				}
			})
		}
	}
}

// openAs opens a repository as another user would, in a process of that user.
func openAs(t *testing.T, uid uint32, repo string) *manifest.Failure {
	t.Helper()
	c := exec.Command("/proc/self/exe", "-test.run=^TestOpenAsAnother$") // by its path it could not be reached
	c.Env = append(os.Environ(), "OPEN_REPOSITORY="+repo)
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, text, refused := strings.Cut(string(out), "REFUSED ")
	if !refused {
		return nil
	}
	text, _, _ = strings.Cut(text, "\n")
	why, advice, _ := strings.Cut(text, " ADVICE ")
	f := manifest.Fail(manifest.KindPermission, "open repository", "%s", why)
	f.Hint = advice
	return f
}

// TestOpenAsAnother is what openAs runs.
func TestOpenAsAnother(t *testing.T) {
	repo := os.Getenv("OPEN_REPOSITORY")
	if repo == "" {
		t.Skip("no test by itself: TestAdviceWorks runs it as another user")
	}
	_, err := openRepository(repo)
	var f *manifest.Failure
	if errors.As(err, &f) {
		fmt.Printf("REFUSED %v ADVICE %s\n", f.Err, f.Hint)
	}
}

// A link that somebody has put where clara-push keeps something is not followed, and it says so.
func TestPlantedLinks(t *testing.T) {
	for _, planted := range []string{"lock", "old/m"} {
		t.Run(planted, func(t *testing.T) {
			p := newPlacer(t)
			p.open().Close() // makes the folders
			target := filepath.Join(p.dir, "target")
			if err := errors.Join(os.WriteFile(target, []byte("theirs"), 0o600), os.RemoveAll(p.own(planted)), os.Symlink(target, p.own(planted))); err != nil {
				t.Fatal(err)
			}
			h := p.open()
			l, err := h.Lock(t.Context(), Owner{}, 0, nil)
			if err == nil {
				l.Release()
				_, _, err = p.push("m", baseTree, manifest.Options{Keep: 1})
			}
			var f *manifest.Failure
			if !errors.As(err, &f) || f.Kind != manifest.KindPermission || f.Hint == "" {
				t.Errorf("it says %v", err)
			}
			if raw, err := os.ReadFile(target); string(raw) != "theirs" || exists(p.at("m")) {
				t.Errorf("the link leads to %q, %v; or the model was placed", raw, err)
			}
		})
	}
}

// Whoever names a model as the repository is refused before the stage is made, which would lie among the models.
func TestModelIsNoRepository(t *testing.T) {
	p := newPlacer(t)
	p.pushed("m", baseTree, manifest.Options{})
	_, err := openRepository(p.at("m"))
	var f *manifest.Failure
	if !errors.As(err, &f) || f.Kind != manifest.KindPermission || !strings.Contains(f.Hint, p.repo) {
		t.Errorf("it says %v", err)
	}
	if exists(filepath.Join(p.repo, stageName)) {
		t.Error("a stage lies in the repository")
	}
}
