//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
)

// What --json prints is one object a line, each of a kind that is documented, and the last one says what was done: the
// same that the host's receipt says. That each line parses is checked by client.push.
func TestJSON(t *testing.T) {
	s := stand(t, lab.Docker2010)
	s.version(t, 3<<20)
	former := s.id
	r := s.c.pushed("--limit-rate", "2MB", s.ref)
	var done int64
	for _, e := range r.Events {
		switch e.Event {
		case "step", "warning":
			if e.Step == "" && e.Event == "step" {
				t.Errorf("a step without a name: %+v", e)
			}
		case "progress":
			if e.Done < done || e.Done > e.Total || e.Total <= 0 {
				t.Errorf("progress goes from %d to %d of %d", done, e.Done, e.Total)
			}
			done = e.Done
		default:
			t.Errorf("an object of the unknown kind %q", e.Event)
		}
	}
	if done < 3<<20 {
		t.Errorf("progress ends at %d bytes", done)
	}
	want := save(t, s.c.Engine, s.ref)
	sum := r.Summary
	if !sum.OK || sum.Command != "image" || sum.Host != "target" || sum.Bytes.Wire < 3<<20 || sum.Bytes.Spared < 2<<20 || sum.Seconds <= 1 {
		t.Errorf("summary: %+v", sum)
	}
	i := sum.Images[0]
	if i.Ref != s.ref || i.Action != "load" || !i.Done || i.Config != want.Config || i.Layers != 2 || i.LayersPresent != 1 ||
		i.Before.ID != former || i.After.ID != idOf(t, s.c.Host.Engine, s.ref) || len(i.Proof) == 0 || i.Keeper == "" {
		t.Errorf("summary of the image: %+v", i)
	}
	s.receipt(t, sum)
}

// receipt checks that the receipt on the host says what the summary says.
func (s *standing) receipt(t *testing.T, sum summary) {
	t.Helper()
	path := strings.Replace(sum.Receipt.Path, "/var/lib", s.c.Host.VarLib, 1)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		ID, From, User string
		Images         []imageSummary
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	i := sum.Images[0]
	if r.ID != sum.Receipt.ID || r.From != whoPushes(t) || r.User != "root" || len(r.Images) != 1 ||
		r.Images[0].Ref != i.Ref || r.Images[0].After != i.After || r.Images[0].Before != i.Before || !slices.Equal(r.Images[0].Proof, i.Proof) {
		t.Errorf("the receipt says %s\nthe summary %+v", b, sum)
	}
}

// Every command ends with a summary under --json, also when its words are wrong.
func TestJSONOfOtherCommands(t *testing.T) {
	c := newClient(t, nil, target(t, lab.Docker2010))
	for _, args := range [][]string{
		{"check", "--json", "target"}, {"clean", "--json", "target"}, {"version", "--json"},
		{"image", "--json"}, {"image", "--json", "--no-such-flag", "app:1", "target"}, {"check", "--json", "--port", "x", "target"},
	} {
		r := c.run(args...)
		r.parse(t)
		if want := map[bool]int{true: 0, false: 2}[slices.Contains([]string{"check --json target", "clean --json target", "version --json"}, strings.Join(args, " "))]; r.Exit != want || r.Summary.ExitCode != want {
			t.Errorf("%v: exit code %d, in the summary %d; want %d\n%s", args, r.Exit, r.Summary.ExitCode, want, r.Stderr)
		}
	}
}

// Without a terminal there is no bar and no escape code, but a line now and then; stdout is empty.
func TestNoTerminal(t *testing.T) {
	s := stand(t, lab.Docker2010)
	s.version(t, 6<<20)
	r := s.c.run("image", "--limit-rate", "700k", s.ref, "target")
	r.exits(t, 0)
	if r.Stdout != "" {
		t.Errorf("stdout: %q", r.Stdout)
	}
	if strings.ContainsAny(r.Stderr, "\r\x1b\b") {
		t.Errorf("control characters in %q", r.Stderr)
	}
	if n := len(regexp.MustCompile(`(?m)^.*\d+ ?%.*$`).FindAllString(r.Stderr, -1)); n < 1 || n > 9 {
		t.Errorf("%d lines of progress in 9 seconds:\n%s", n, r.Stderr)
	}
	r.says(t, s.ref+" → target: done in", "sent", "spared", "1 of 2 layers were there")
}

// On a terminal there is a bar.
func TestTerminal(t *testing.T) {
	script, err := exec.LookPath("script")
	if err != nil {
		t.Skip("skipped: the program script, of util-linux, is not installed")
	}
	s := stand(t, lab.Docker2010)
	s.version(t, 3<<20)
	args := strings.Join(append([]string{program(t)}, s.c.withConfig([]string{"image", "--limit-rate", "1MB", s.ref, "target"})...), " ")
	cmd := exec.CommandContext(t.Context(), script, "-qec", args, "/dev/null")
	cmd.Env = append(s.c.environ(), "TERM=xterm")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := string(out)
	if n := strings.Count(text, "\r"); n < 10 || !strings.Contains(text, "%") || !strings.Contains(text, "MB/s") {
		t.Errorf("no bar in %q", text)
	}
	if !strings.Contains(text, "→ target: done in") {
		t.Errorf("no outcome in %q", text)
	}
	arrived(t, s.c, s.ref, s.message())
}

// --quiet says nothing but errors; -v says each step.
func TestQuietAndVerbose(t *testing.T) {
	s := stand(t, lab.Docker2010)
	s.version(t, 1<<20)
	r := s.c.run("image", "--quiet", s.ref, "target")
	r.exits(t, 0)
	if r.Stdout+r.Stderr != "" {
		t.Errorf("said: %q %q", r.Stdout, r.Stderr)
	}
	r = s.c.run("image", "--quiet", "engine://no-such-image:1", "target")
	r.exits(t, 21)
	if n := strings.Count(r.Stderr, "\n"); n < 1 || n > 2 || !strings.HasPrefix(r.Stderr, "clara-push: ") || r.Stdout != "" {
		t.Errorf("said: %q %q, want the error and its advice", r.Stdout, r.Stderr)
	}
	s.version(t, 1<<20)
	r = s.c.run("image", "-v", s.ref, "target")
	r.exits(t, 0)
	r.says(t, "connecting to target", "agent", "loading", "proving", "naming")
}

// --dry-run says what would travel, and changes nothing on the host.
func TestDryRun(t *testing.T) {
	bothStores(t, func(t *testing.T, k lab.Kind) {
		s := stand(t, k)
		s.version(t, 3<<20)
		before := tree(t, s.c.Host.VarLib)
		r := s.c.run("image", "--dry-run", s.ref, "target")
		r.exits(t, 0)
		for _, text := range []string{s.ref, "3.1", "MB", "free"} { // 3 MiB and a little are 3.15 MB
			if !strings.Contains(r.Stdout, text) {
				t.Errorf("stdout lacks %q:\n%s", text, r.Stdout)
			}
		}
		if r.Up > 64<<10 {
			t.Errorf("%d bytes travelled", r.Up)
		}
		j := s.c.pushed("--dry-run", s.ref).Summary
		if !j.DryRun || j.Images[0].Action != "load" || j.Images[0].Done || j.Bytes.Send < 3<<20 || j.Receipt.ID != "" || j.Space.Stage.Need < 3<<20 || j.Space.Engine.Free <= 0 {
			t.Errorf("summary: %+v", j)
		}
		s.untouched(t)
		after := tree(t, s.c.Host.VarLib)
		for end := time.Now().Add(5 * time.Second); !slices.Equal(after, before) && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			after = tree(t, s.c.Host.VarLib) // once the agent has ended, too
		}
		for _, f := range after {
			if !slices.Contains(before, f) {
				t.Errorf("the host has a new or changed file: %s", f)
			}
		}
		if len(after) < len(before) {
			t.Errorf("the host had %d files and has %d", len(before), len(after))
		}
		s.recovers(t)
	})
}

// Several images in one push share what they have in common, and one receipt names them all.
func TestSeveralImages(t *testing.T) {
	bothStores(t, func(t *testing.T, k lab.Kind) {
		one, two := stand(t, k), stand(t, k)
		two.c = one.c
		for _, s := range []*standing{one, two} {
			s.base.Seed = 560 // new to the host
			s.version(t, 1<<20)
		}
		r := one.c.pushed(one.ref, two.ref)
		if len(r.Summary.Images) != 2 || !r.Summary.Images[0].Done || !r.Summary.Images[1].Done {
			t.Errorf("summary: %+v", r.Summary)
		}
		if r.Up > 6<<20 {
			t.Errorf("%d bytes travelled: the common base went twice", r.Up)
		}
		for _, s := range []*standing{one, two} {
			arrived(t, s.c, s.ref, s.message())
		}
	})
}

// The help names every exit code.
func TestHelp(t *testing.T) {
	c := newClient(t, nil, target(t, lab.Docker2010))
	r := c.run("--help")
	r.exits(t, 0)
	for _, code := range []int{0, 1, 2, 3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 130, 143} {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^ +%d  `, code)).MatchString(r.Stdout) {
			t.Errorf("the help does not name exit code %d", code)
		}
	}
}

// tree lists the files below a folder with sizes and times.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if fi, err := d.Info(); err == nil {
			all = append(all, fmt.Sprintln(path, fi.Size(), fi.ModTime()))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
