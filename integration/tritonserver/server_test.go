//go:build linux

package tritonserver_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/tritonserver"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/triton"
)

// The servers that differ in protocol, in what they notice, or in what they say.
var versions = []string{"1.5.0", "1.15.0", "2.1.0", "2.28.0", "2.29.0"}

// place puts versions of a model into the repository as clara-push does: complete, by a rename each.
func place(t *testing.T, repo, name string, numbers ...int) {
	t.Helper()
	aside := filepath.Join(t.TempDir(), name)
	for _, n := range numbers {
		dir := filepath.Join(aside, fmt.Sprint(n))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "model.graphdef"), "weights")
	}
	write(t, filepath.Join(aside, "config.pbtxt"), fmt.Sprintf("name: %q\nplatform: \"tensorflow_graphdef\"\n", name))
	err := os.Rename(aside, filepath.Join(repo, name))
	if err == nil {
		return
	}
	for _, n := range numbers {
		if err := os.Rename(filepath.Join(aside, fmt.Sprint(n)), filepath.Join(repo, name, fmt.Sprint(n))); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// touch gives a file a time that is newer than any.
func touch(t *testing.T, path string) {
	t.Helper()
	later := time.Now().Add(time.Duration(touches.Add(1)) * time.Second)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
}

var touches atomic.Int64

func start(t *testing.T, repo string, o tritonserver.Options) (*tritonserver.Server, *triton.Server) {
	t.Helper()
	s, err := tritonserver.Start(repo, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c, err := triton.Dial(t.Context(), s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestTake(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			repo := t.TempDir()
			s, c := start(t, repo, tritonserver.Options{Version: version, Mode: tritonserver.Explicit})
			if c.Version != version {
				t.Errorf("the server calls itself %q", c.Version)
			}
			place(t, repo, "m", 1)
			want := triton.Want{Model: "m", Versions: []int64{1}, Limit: 2 * time.Second}
			taken(t, c, want, triton.TakenReady)
			place(t, repo, "m", 2)
			want.Versions, want.Before = []int64{2}, states(t, c, "m")
			taken(t, c, want, triton.TakenReady)
			if got := s.Ready("m"); !slices.Equal(got, []int64{2}) {
				t.Errorf("ready are %v", got)
			}
			want.Before = states(t, c, "m")
			loads := s.Loads("m")
			taken(t, c, want, triton.TakenReady)
			if s.Loads("m") != loads {
				t.Error("nothing was changed, and it was loaded again")
			}
			touch(t, filepath.Join(repo, "m", "2", "model.graphdef"))
			taken(t, c, want, triton.TakenReady)
			if s.Loads("m") != loads+1 {
				t.Error("other files were there, of the same version, and they were not loaded")
			}
			s.FailLoad("m", "out of \"memory\"")
			touch(t, filepath.Join(repo, "m", "2", "model.graphdef"))
			for range 2 { // what failed is not ready the next time
				notTaken(t, c, want, `out of "memory"`)
			}
			want.Model = "absent"
			notTaken(t, c, want, "failed to poll from model repository")
			if err := c.Unload(t.Context(), "m"); err != nil || len(s.Ready("m")) > 0 {
				t.Errorf("unload: %v, ready are %v", err, s.Ready("m"))
			}
			if got := s.Complaints(); len(got) > 0 {
				t.Errorf("it complains %q", got)
			}
		})
	}
}

func states(t *testing.T, c *triton.Server, model string) []triton.VersionState {
	t.Helper()
	st, err := c.States(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func taken(t *testing.T, c *triton.Server, w triton.Want, want triton.Taken) {
	t.Helper()
	if got, err := c.Take(t.Context(), w); err != nil || got != want {
		t.Errorf("%v was taken: %q %v, want %q", w, got, err, want)
	}
}

func notTaken(t *testing.T, c *triton.Server, w triton.Want, says string) {
	t.Helper()
	_, err := c.Take(t.Context(), w)
	var f *manifest.Failure
	if !errors.As(err, &f) || f.Kind != manifest.KindServer || !strings.Contains(f.Error()+f.Hint, says) {
		t.Errorf("%v: %v, want a server's failure with %q", w, err, says)
	}
}

func TestTakeWithoutOrders(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			repo := t.TempDir()
			place(t, repo, "m", 1)
			s, c := start(t, repo, tritonserver.Options{Version: version, Mode: tritonserver.Poll, Every: 100 * time.Millisecond})
			if err := c.Load(t.Context(), "m"); !errors.Is(err, triton.ErrNotExplicit) {
				t.Errorf("load in mode poll: %v", err)
			}
			want := triton.Want{Model: "m", Versions: []int64{1}, Before: states(t, c, "m"), Limit: 3 * time.Second}
			write(t, filepath.Join(repo, "m", "1", "model.graphdef"), "others")
			taken(t, c, want, triton.TakenUnseen)
			place(t, repo, "m", 2)
			want.Versions = []int64{2}
			taken(t, c, want, triton.TakenReady)
			want.Versions, want.Limit, want.Before = []int64{3}, 400*time.Millisecond, states(t, c, "m")
			notTaken(t, c, want, "version 3 is not known to it")
			s.FailLoad("m", "no GPU")
			place(t, repo, "m", 4)
			want.Versions, want.Limit = []int64{4}, 3*time.Second
			reason := "no GPU"
			if version == "1.5.0" { // which tells no reasons
				reason = "unavailable"
			}
			notTaken(t, c, want, reason)
		})
	}
}

func TestTakeLimits(t *testing.T) {
	repo := t.TempDir()
	place(t, repo, "m", 1)
	s, c := start(t, repo, tritonserver.Options{Mode: tritonserver.Explicit})
	s.Stall("m")
	want := triton.Want{Model: "m", Versions: []int64{1}, Limit: 300 * time.Millisecond}
	notTaken(t, c, want, "has not answered")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("why"))
	defer cancel()
	want.Limit = time.Minute
	if _, err := c.Take(ctx, want); !errors.Is(err, context.DeadlineExceeded) || manifest.KindOf(err) == manifest.KindServer {
		t.Errorf("interrupted: %v", err)
	}
	want.Limit = 300 * time.Millisecond
	_, none := start(t, repo, tritonserver.Options{})
	want.Versions, want.Before = []int64{2}, states(t, none, "m")
	notTaken(t, none, want, "--model-control-mode=none")
}

// What is no Triton is not taken for one, and a hostile one does no harm.
func TestDialRefuses(t *testing.T) {
	for url, kind := range map[string]manifest.Kind{
		"ftp://x": manifest.KindUsage, "": manifest.KindUsage, "http://u:p@x": manifest.KindUsage, "http://127.0.0.1:1": manifest.KindServer,
	} {
		if _, err := triton.Dial(t.Context(), url, nil); manifest.KindOf(err) != kind {
			t.Errorf("%q: %v", url, err)
		}
	}
	for url, want := range map[string]bool{"localhost:8000": true, "http://127.0.0.9:1/x": true, "http://[::1]:8": true, "http://gpu01:8000": false, "https://10.0.0.1": false} {
		if triton.IsLoopback(url) != want {
			t.Errorf("%q is loopback: %v", url, !want)
		}
	}
}

// The rules by which the stand-in notices a change are those of the servers.
func TestPolls(t *testing.T) {
	for _, tt := range []struct {
		version string
		change  func(t *testing.T, model string)
		notices bool
	}{
		{"2.28.0", newVersion, true}, {"2.29.0", newVersion, true},
		{"1.5.0", newer, true}, {"2.28.0", newer, true}, {"2.29.0", newer, true},
		{"1.5.0", older, false}, {"2.28.0", older, false}, {"2.29.0", older, true},
	} {
		repo := t.TempDir()
		place(t, repo, "m", 1)
		s, _ := start(t, repo, tritonserver.Options{Version: tt.version, Mode: tritonserver.Poll, Every: 150 * time.Millisecond})
		awaitPolls(s, 1) // the change must not meet the next one, nor have the time of the first
		time.Sleep(50 * time.Millisecond)
		tt.change(t, filepath.Join(repo, "m"))
		awaitPolls(s, 2)
		if got := s.Loads("m") > 1; got != tt.notices {
			t.Errorf("%s: noticed: %v", tt.version, got)
		}
	}
}

func awaitPolls(s *tritonserver.Server, more int) {
	polls, _ := s.Polls()
	for now := polls; now < polls+more; now, _ = s.Polls() {
		time.Sleep(time.Millisecond)
	}
}

func newVersion(t *testing.T, model string) {
	place(t, filepath.Dir(model), filepath.Base(model), 2)
}
func newer(t *testing.T, model string) {
	write(t, filepath.Join(model, "1", "model.graphdef"), "others")
}

// older writes beside, as tar and rsync -a do, with times of long ago.
func older(t *testing.T, model string) {
	aside := filepath.Join(filepath.Dir(filepath.Dir(model)), filepath.Base(filepath.Dir(model))+"-aside")
	write(t, aside, "others")
	old := time.Now().Add(-time.Hour)
	in := filepath.Join(model, "1")
	info, err := os.Stat(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Chtimes(aside, old, old), os.Rename(aside, filepath.Join(in, "model.graphdef")), os.Chtimes(in, info.ModTime(), info.ModTime()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// It complains about everything that the facts say is misread.
func TestComplains(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, repo string){
		"failed to open text file":        func(t *testing.T, repo string) { os.Mkdir(filepath.Join(repo, ".staging"), 0o755) },
		"directory name must equal":       func(t *testing.T, repo string) { os.Rename(filepath.Join(repo, "m"), filepath.Join(repo, "n")) },
		"at least one version":            func(t *testing.T, repo string) { os.RemoveAll(filepath.Join(repo, "m", "1")) },
		"unable to find a model file":     func(t *testing.T, repo string) { os.Remove(filepath.Join(repo, "m", "1", "model.graphdef")) },
		`"2.tmp" is taken for version 2`:  func(t *testing.T, repo string) { os.Mkdir(filepath.Join(repo, "m", "2.tmp"), 0o755) },
		"failed to poll model repository": func(t *testing.T, repo string) { os.Symlink("nowhere", filepath.Join(repo, "x")) },
		"is out of range":                 func(t *testing.T, repo string) { os.Mkdir(filepath.Join(repo, "m", strings.Repeat("9", 20)), 0o755) },
		"failed to stat file":             func(t *testing.T, repo string) { os.Symlink("nowhere", filepath.Join(repo, "m", "x")) },
	} {
		t.Run(name, func(t *testing.T) {
			repo := t.TempDir()
			place(t, repo, "m", 1)
			spoil(t, repo)
			s, _ := start(t, repo, tritonserver.Options{Mode: tritonserver.Poll, Every: time.Hour})
			if got := strings.Join(s.Complaints(), "\n"); !strings.Contains(got, name) {
				t.Errorf("it says %q", got)
			}
		})
	}
}
