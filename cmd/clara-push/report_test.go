package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func aReport(args ...string) (r *report, out, err *strings.Builder) {
	out, err = &strings.Builder{}, &strings.Builder{}
	return newReport(IO{Out: out, Err: err}, args), out, err
}

// What a host says must not move the cursor of a person or break the lines of a program.
func TestNothingHostileIsPrinted(t *testing.T) {
	evil := "a\x1b[2J\r\nb\u202ec\u009b1m"
	r, out, errs := aReport("--json")
	r.verbose = true
	r.event(manifest.Event{Step: manifest.StepLoad, Ref: evil, Text: evil})
	r.event(manifest.Event{Step: manifest.StepWarning, Ref: evil, Text: evil})
	r.result([]string{evil})
	r.finish(manifest.On(evil, manifest.Fail(manifest.KindEngine, evil, "%s", evil).Advise("%s", evil)), 16)
	for name, text := range map[string]string{"stdout": out.String(), "stderr": errs.String()} {
		for _, c := range []string{"\x1b", "\r", "\u202e", "\u009b", `\u001b`, `\u202e`} {
			if strings.Contains(text, c) {
				t.Errorf("%s has %q: %q", name, c, text)
			}
		}
	}
	if n := strings.Count(errs.String(), "\n"); n != 5 {
		t.Errorf("%d lines on stderr, want 5: %q", n, errs.String())
	}
}

// Each line of stdout is an object, whatever happens at once; the last is the summary.
func TestJSONLines(t *testing.T) {
	r, out, _ := aReport("--json")
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range int64(50) {
				r.event(manifest.Event{Step: manifest.StepSend, Done: i, Total: 50, Wire: i})
				r.event(manifest.Event{Step: manifest.StepRetry, Text: fmt.Sprint(n, i)})
				r.event(manifest.Event{Step: manifest.StepWarning, Text: "the same"})
			}
		})
	}
	wg.Wait()
	r.summary.Command = "image"
	r.finish(manifest.Fail(manifest.KindSpace, "check space", "full").Advise("free some"), 14)
	seen := map[string]int{}
	var last summary
	for line := range strings.Lines(out.String()) {
		last = summary{}
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		seen[last.Event]++
	}
	if seen["step"] != 400 || seen["warning"] != 1 || seen["summary"] != 1 || seen["progress"] < 1 || seen["progress"] > 20 {
		t.Errorf("objects: %v", seen)
	}
	if last.Event != "summary" || last.OK || last.ExitCode != 14 || last.Kind != "space" || last.Step != "check space" ||
		last.Error != "check space: full" || last.Hint != "free some" || len(last.Warnings) != 1 {
		t.Errorf("summary: %+v", last)
	}
}

func TestWhatIsSaid(t *testing.T) {
	events := []manifest.Event{
		{Step: manifest.StepConnect, Text: "connecting"},
		{Step: manifest.StepPlan, Text: "52 kB to send"},
		{Step: manifest.StepRetry, Text: "lost; trying again"},
		{Step: manifest.StepWarning, Ref: "app:1", Text: "old"},
	}
	normal := "52 kB to send\nlost; trying again\nwarning: app:1: old\n"
	for _, tt := range []struct {
		name           string
		quiet, verbose bool
		want           string
	}{
		{"normal", false, false, normal},
		{"verbose", false, true, "connect: connecting\n" + normal},
		{"quiet", true, false, ""},
	} {
		r, out, errs := aReport()
		r.quiet, r.verbose = tt.quiet, tt.verbose
		for _, e := range events {
			r.event(e)
		}
		r.result([]string{"a result"})
		r.finish(nil, 0)
		if errs.String() != tt.want {
			t.Errorf("%s: stderr %q, want %q", tt.name, errs.String(), tt.want)
		}
		if out.String() != "a result\n" {
			t.Errorf("%s: stdout %q", tt.name, out.String())
		}
	}
}

func TestErrorsAreSaidEvenWhenQuiet(t *testing.T) {
	r, out, errs := aReport()
	r.quiet = true
	r.finish(manifest.On("gpu01", manifest.Fail(manifest.KindAuth, "login", "refused").Advise("add a key")), 11)
	if want := "clara-push: gpu01: login: refused\n  → add a key\n"; errs.String() != want {
		t.Errorf("stderr %q, want %q", errs.String(), want)
	}
	if out.String() != "" {
		t.Errorf("stdout %q", out.String())
	}
}

// With --json, --json behind "--" is a word and not the flag.
func TestJSONIsFoundBeforeFlagsAreRead(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want bool
	}{
		{[]string{"image", "--json", "--nonsense"}, true},
		{[]string{"image", "--", "--json"}, false},
		{nil, false},
	} {
		if r, _, _ := aReport(tt.args...); r.json != tt.want {
			t.Errorf("%q: json %v, want %v", tt.args, r.json, tt.want)
		}
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }

// A full disk under stdout is told, a reader who has seen enough is not.
func TestOutputThatCannotBeWritten(t *testing.T) {
	for why, told := range map[error]bool{syscall.ENOSPC: true, syscall.EPIPE: false} {
		var errs strings.Builder
		r := newReport(IO{Out: failing{&os.PathError{Op: "write", Path: "/dev/stdout", Err: why}}, Err: &errs}, []string{"--json"})
		r.finish(nil, 0)
		if got := strings.Contains(errs.String(), why.Error()); got != told {
			t.Errorf("%v: stderr has %q", why, errs.String())
		}
	}
}
