package dial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openPTY returns both ends of a pseudo-terminal: the keyboard and the terminal that the program sees.
func openPTY(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there is no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	must(t, unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	must(t, err)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there is no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	must(t, err)
	return s.Lflag&unix.ECHO != 0
}

func TestTerminal(t *testing.T) {
	keyboard, terminal := openPTY(t)
	var shown bytes.Buffer
	p := NewTerminal(terminal, &shown)
	if p == nil {
		t.Fatal("a terminal is not taken for one")
	}
	typing := func(text string, hidden bool) {
		for range 200 {
			if time.Sleep(10 * time.Millisecond); !hidden || !echoes(t, terminal) {
				break
			}
		}
		_, _ = keyboard.WriteString(text)
	}
	go typing("secret\n", true)
	if s, err := p.Secret(t.Context(), "Password: "); s != "secret" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
	go typing("a line\n", false)
	if s, err := p.Line(t.Context(), "Name: "); s != "a line" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
	if shown.String() != "Password: \nName: " {
		t.Errorf("shown: %q", shown.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := p.Secret(ctx, "Password: "); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	if !echoes(t, terminal) {
		t.Error("what is typed stays hidden after a cancelled question")
	}
}
