package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts in testdata run this test binary as clara-push.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"clara-push": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("SILENT", silentServer(t))
			env.Setenv("CLOSED", closedPort(t))
			env.Setenv("DOCKER_HOST", "unix://"+env.WorkDir+"/no-engine.sock")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"summary": summaryHas,
		},
	})
}

// exits runs a command and wants an exit code: exits CODE COMMAND ARG...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG...")
	}
	code := 0
	var failed *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &failed) {
		code = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if args[0] != strconv.Itoa(code) {
		ts.Fatalf("%s ended with %d, want %s", args[1], code, args[0])
	}
}

// summaryHas wants each line of stdout to be an object, the last of them the only summary, with these values: summary
// KEY=VALUE...
func summaryHas(ts *testscript.TestScript, neg bool, args []string) {
	var last map[string]any
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if last["event"] == "summary" {
			ts.Fatalf("something stands behind the summary: %s", line)
		}
		last = nil
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			ts.Fatalf("%q is no object: %v", line, err)
		}
	}
	if last["event"] != "summary" {
		ts.Fatalf("the last object is no summary: %v", last)
	}
	for _, a := range args {
		key, want, _ := strings.Cut(a, "=")
		if got := fmt.Sprint(last[key]); (got == want) == neg {
			ts.Fatalf("%s is %q, want %q", key, got, want)
		}
	}
}

// silentServer accepts connections and never says a word. It returns its address.
func silentServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			go func() { _, _ = bufio.NewReader(c).WriteTo(discard{}) }()
		}
	}()
	return l.Addr().String()
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
