//go:build linux

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/meter"
)

// A running is a clara-push at work.
type running struct {
	Cmd *exec.Cmd

	client         *client
	stdout, stderr watched
	began          time.Time
	up, down       int64
	killer         *time.Timer
	memory         *meter.Memory
	late           atomic.Bool
}

// A result is what a run of clara-push left.
type result struct {
	Stdout, Stderr string
	Exit           int // -1 when a signal ended it
	Took           time.Duration
	Up, Down       int64 // bytes from the client to the host and back, of the TCP connections, seen by the proxy
	Peak           int64 // the client's largest resident set in bytes

	Events  []event // of push only: everything that was printed, without the summary
	Summary summary
}

// An event is one line of --json.
type event struct {
	Event string
	Step  string
	Text  string
	Ref   string
	Done  int64
	Total int64
	Wire  int64
}

// A summary is the last line of --json, as far as tests look at it.
type summary struct {
	Event    string
	Command  string
	Host     string
	OK       bool
	ExitCode int
	Kind     string
	Step     string
	Error    string
	Hint     string
	Warnings []string
	DryRun   bool
	Seconds  float64
	Bytes    struct{ Wire, Send, Staged, Spared, Unknown int64 }
	Space    struct{ Stage, Engine struct{ Need, Free int64 } }
	Images   []imageSummary
	Receipt  struct{ ID, Path string }

	Repository string
	Models     []modelSummary
}

type modelSummary struct {
	Name, Place, Entry string
	Gone, Done         bool
	Kept               []string
}

type imageSummary struct {
	Ref, Action, Origin, Platform string
	Done                          bool
	Config, Manifest              string
	Layers, LayersPresent         int
	Before, After                 struct{ ID, Config, Manifest string }
	Keeper                        string
	Proof, StillRunning           []string
}

// wait waits for the end of the run.
func (r *running) wait() result {
	r.client.t.Helper()
	err := r.Cmd.Wait()
	r.killer.Stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.client.t.Fatal(err)
	}
	res := result{
		Stdout: r.stdout.String(), Stderr: r.stderr.String(), Exit: r.Cmd.ProcessState.ExitCode(), Took: time.Since(r.began),
		Up: r.client.proxy.Up() - r.up, Down: r.client.proxy.Down() - r.down,
		Peak: r.memory.Stop()[0],
	}
	if r.late.Load() {
		r.client.t.Fatalf("%s did not end within %v\n%s", r.Cmd, r.client.Limit, res.Stderr)
	}
	return res
}

// until waits for text on stdout or stderr, at most limit, and reports whether it came.
func (r *running) until(text string, limit time.Duration) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(r.stdout.String(), text) || strings.Contains(r.stderr.String(), text) {
			return true
		}
	}
	return false
}

// sent waits until n bytes have gone to the host in this run, at most limit, and reports whether they have.
func (r *running) sent(n int64, limit time.Duration) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if r.client.proxy.Up()-r.up >= n {
			return true
		}
	}
	return false
}

// parse reads the lines of --json. The last one must be the summary and no other.
func (r *result) parse(t testing.TB) {
	t.Helper()
	lines := strings.SplitAfter(r.Stdout, "\n")
	if last := lines[len(lines)-1]; last != "" {
		if r.Exit < 0 {
			return // killed while it wrote
		}
		t.Fatalf("stdout does not end with a line end: %q", last)
	}
	lines = lines[:len(lines)-1]
	for n, line := range lines {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %d of stdout is not JSON: %v: %q", n+1, err, line)
		}
		if (e.Event == "summary") != (n == len(lines)-1) && r.Exit >= 0 {
			t.Errorf("line %d of %d is a %q: %s", n+1, len(lines), e.Event, line)
		}
		if e.Event != "summary" {
			r.Events = append(r.Events, e)
		} else if err := json.Unmarshal([]byte(line), &r.Summary); err != nil {
			t.Fatalf("the summary does not parse: %v: %s", err, line)
		}
	}
	if r.Exit >= 0 && r.Summary.Event == "" {
		t.Fatalf("no summary on stdout; exit code %d\n%s", r.Exit, r.Stderr)
	}
}

// exits fails the test unless the run ended with code.
func (r result) exits(t testing.TB, code int) {
	t.Helper()
	if r.Exit != code {
		t.Fatalf("exit code %d, want %d\n%s", r.Exit, code, r.Stderr)
	}
}

// says fails the test unless stderr has all the texts.
func (r result) says(t testing.TB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.Stderr, text) {
			t.Errorf("stderr lacks %q:\n%s", text, r.Stderr)
		}
	}
}

// steps counts the events of a step.
func (r result) steps(step string) int {
	n := 0
	for _, e := range r.Events {
		if e.Step == step {
			n++
		}
	}
	return n
}

// watched is what a process writes; it may be read meanwhile.
type watched struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}
