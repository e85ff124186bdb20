package dial

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// A Terminal is a Prompter for a person at a terminal.
type Terminal struct {
	In  *os.File // a terminal
	Out io.Writer
}

// NewTerminal returns a Prompter, or nil when in is no terminal and nobody can be asked.
func NewTerminal(in *os.File, out io.Writer) Prompter {
	if in == nil || !term.IsTerminal(int(in.Fd())) {
		return nil
	}
	return &Terminal{In: in, Out: out}
}

// Secret reads a line that is not shown. When ctx ends first the terminal is set back to showing what is typed.
func (t *Terminal) Secret(ctx context.Context, prompt string) (string, error) {
	before, err := term.GetState(int(t.In.Fd()))
	if err != nil {
		return "", fmt.Errorf("read from the terminal: %w", err)
	}
	fmt.Fprint(t.Out, prompt)
	defer fmt.Fprintln(t.Out)
	answer, err := until(ctx, func() (string, error) {
		b, err := term.ReadPassword(int(t.In.Fd()))
		return string(b), err
	})
	if ctx.Err() != nil {
		_ = term.Restore(int(t.In.Fd()), before) // the reader still waits and would restore it too late
	}
	return answer, err
}

// Line reads a line.
func (t *Terminal) Line(ctx context.Context, prompt string) (string, error) {
	fmt.Fprint(t.Out, prompt)
	return until(ctx, func() (string, error) {
		s, err := bufio.NewReader(t.In).ReadString('\n')
		return strings.TrimRight(s, "\r\n"), err
	})
}

// until waits for an answer or the end of ctx. A read from a terminal cannot be ended; it is left behind.
func until(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		s, err := read()
		done <- result{s, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
