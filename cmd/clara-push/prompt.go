package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/dial"
)

// prompter returns a way to ask the person at the terminal; nil when there is no terminal, so that nothing ever waits for
// an answer in a pipeline. It asks the terminal itself, whatever stdin and stdout are.
func prompter() dial.Prompter {
	in, out, err := openTerminal()
	if err != nil {
		return nil
	}
	return &terminal{in: in, out: out}
}

type terminal struct{ in, out *os.File }

// Secret implements dial.Prompter.
func (t *terminal) Secret(ctx context.Context, prompt string) (string, error) {
	return t.ask(ctx, prompt, func() (string, error) {
		secret, err := term.ReadPassword(int(t.in.Fd()))
		fmt.Fprintln(t.out)
		return string(secret), err
	})
}

// Line implements dial.Prompter.
func (t *terminal) Line(ctx context.Context, prompt string) (string, error) {
	return t.ask(ctx, prompt, func() (string, error) {
		line, err := bufio.NewReader(t.in).ReadString('\n')
		return strings.TrimRight(line, "\r\n"), err
	})
}

// ask runs read until it has an answer or ctx ends. In the latter case the terminal shows again what is typed, and read is
// left waiting: the program is about to end.
func (t *terminal) ask(ctx context.Context, prompt string, read func() (string, error)) (string, error) {
	fmt.Fprint(t.out, manifest.Plain(prompt))
	if !strings.HasSuffix(prompt, " ") {
		fmt.Fprint(t.out, " ")
	}
	type answer struct {
		text string
		err  error
	}
	before, _ := term.GetState(int(t.in.Fd()))
	given := make(chan answer, 1)
	go func() {
		text, err := read()
		given <- answer{text, err}
	}()
	select {
	case a := <-given:
		return a.text, a.err
	case <-ctx.Done():
		if before != nil {
			_ = term.Restore(int(t.in.Fd()), before)
		}
		fmt.Fprintln(t.out)
		return "", ctx.Err()
	}
}
