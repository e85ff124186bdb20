// Command clara-push puts container images onto a Clara Deploy host over SSH.
//
// This folder is the command line only: flags in, one call into package transfer, words and an exit code out. What a push
// is and how it works is not decided here. Only this command reads the program's arguments, writes to its standard streams
// or ends it.
//
// Read Run first, then image.go, which every other command resembles; wiring.go holds all calls into the other packages.
package main

import (
	"context"
	"io"
	"os"
	"runtime/debug"
)

// heapLimit is where the collector begins to work harder, in bytes. What a push holds stays well below; left alone, the
// collector would let twice as much pile up. Both ends are promised to stay below 150 MB.
const heapLimit = 112 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heapLimit)
	}
	os.Exit(Run(context.Background(), os.Args[1:], IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// IO is where a command reads and writes: results go to Out, talk and errors to Err.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run runs one command to its end and returns the exit code, one of those that `clara-push help exit-codes` lists.
// Cancelling ctx interrupts it as SIGINT does.
func Run(ctx context.Context, args []string, stdio IO) int {
	r := newReport(stdio, args)
	ctx, stop := onSignal(ctx, r.interrupted)
	defer stop()
	err := settle(ctx, execute(ctx, args, stdio, r))
	code := exitCode(err)
	r.finish(err, code)
	return code
}
