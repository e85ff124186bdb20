package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// aTerminal returns a terminal and the end at which its person sits.
func aTerminal(t *testing.T) (*terminal, *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal to be had: %v", err)
	}
	t.Cleanup(func() { _ = person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return &terminal{in: tty, out: tty}, person
}

func echoes(t *testing.T, tm *terminal) bool {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(tm.in.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return s.Lflag&unix.ECHO != 0
}

// awaitEcho waits until the terminal shows, or hides, what is typed.
func awaitEcho(t *testing.T, tm *terminal, want bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); echoes(t, tm) != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("echo stays %v", !want)
		}
	}
}

func TestSecretIsNotShown(t *testing.T) {
	tm, person := aTerminal(t)
	type answer struct {
		text string
		err  error
	}
	given := make(chan answer, 1)
	go func() {
		s, err := tm.Secret(context.Background(), "passphrase\x1b[2J:")
		given <- answer{s, err}
	}()
	awaitEcho(t, tm, false)
	fmt.Fprint(person, "open sesame\n")
	if a := <-given; a.err != nil || a.text != "open sesame" {
		t.Errorf("Secret = %q, %v", a.text, a.err)
	}
	awaitEcho(t, tm, true)
	fmt.Fprintln(tm.out, "end")
	var shown strings.Builder
	for r := bufio.NewReader(person); !strings.Contains(shown.String(), "end"); {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		shown.WriteString(line)
	}
	if s := shown.String(); strings.Contains(s, "sesame") || strings.Contains(s, "\x1b") || !strings.Contains(s, "passphrase") {
		t.Errorf("the terminal shows %q", s)
	}
}

// Ctrl-C at a question must leave a terminal that shows what is typed.
func TestCancelledQuestionRestoresTheTerminal(t *testing.T) {
	tm, _ := aTerminal(t)
	ctx, cancel := context.WithCancel(context.Background())
	given := make(chan error, 1)
	go func() {
		_, err := tm.Secret(ctx, "passphrase:")
		given <- err
	}()
	awaitEcho(t, tm, false)
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("Secret = %v, want the context's error", err)
	}
	if !echoes(t, tm) {
		t.Error("the terminal still hides what is typed")
	}
}

func TestLine(t *testing.T) {
	tm, person := aTerminal(t)
	fmt.Fprint(person, "yes\n")
	if got, err := tm.Line(context.Background(), "sure?"); err != nil || got != "yes" {
		t.Errorf("Line = %q, %v", got, err)
	}
}
