//go:build linux

// Clara-push-lab keeps a lab running for trying things by hand: an engine with an image to push from, and a host to push
// to. It prints the commands to use them, and removes everything on Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/integration/link"
)

// options are the flags.
type options struct {
	source, host string
	base         int64 // MB
	line         link.Options
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, parseFlags()); err != nil {
		fmt.Fprintln(os.Stderr, "clara-push-lab:", err)
		os.Exit(1)
	}
}

func parseFlags() options {
	kinds := fmt.Sprintf("%s, %s or %s", lab.Docker2010, lab.ModernGraphdriver, lab.ModernContainerd)
	var o options
	flag.StringVar(&o.source, "source", string(lab.ModernContainerd), "kind of engine to push from: "+kinds)
	flag.StringVar(&o.host, "host", string(lab.Docker2010), "kind of engine on the host: "+kinds)
	flag.Int64Var(&o.base, "base", 100, "size of the base layer of the image app:1, in MB")
	flag.Int64Var(&o.line.Rate, "rate", 0, "rate of the line to the host in bit/s; 0 means none is in between")
	flag.DurationVar(&o.line.RTT, "rtt", 0, "round-trip time of the line to the host")
	flag.Parse()
	return o
}

// run starts the lab, prints how to use it, and waits for the end of ctx.
func run(ctx context.Context, o options) (err error) {
	l, err := lab.Start(ctx, lab.Options{Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	source, err := l.Engine(ctx, lab.Kind(o.source), lab.EngineOptions{})
	if err != nil {
		return err
	}
	host, err := l.Host(ctx, lab.Kind(o.host), lab.HostOptions{})
	if err != nil {
		return err
	}
	spec := lab.ImageSpec{Name: "app:1", Base: lab.Layer{Size: o.base * 1e6}, Layers: []lab.Layer{{Content: lab.Half, Size: 1e6, Seed: 1}}}
	if err := l.BuildImage(ctx, source, spec); err != nil {
		return err
	}
	port := host.Port
	if o.line != (link.Options{}) {
		p, err := link.Listen(ctx, host.Addr, o.line)
		if err != nil {
			return err
		}
		defer p.Close()
		port = p.Port
	}
	fmt.Print(howTo(l, source, host, port))
	<-ctx.Done()
	fmt.Fprintln(os.Stderr, "\nremoving the lab")
	return nil
}

// howTo is what the lab tells its user. The host key is known under the server's own port, so a line in between needs
// the alias.
func howTo(l *lab.Lab, source *lab.Engine, h *lab.Host, port int) string {
	args := h.PushArgs()
	if port != h.Port {
		args = h.PushArgsVia(port)
	}
	program, err := filepath.Abs("bin/clara-push")
	if err != nil || exists(program) != nil {
		program = "clara-push"
	}
	return fmt.Sprintf(`
The lab runs in %s until Ctrl-C. In another terminal:

  # push the image app:1 to the host
  export DOCKER_HOST=%s
  %s image %s app:1 %s

  # see what arrived, and run it
  ssh -F %s %s docker run --rm --network none app:1

  # the host's engine directly
  docker -H %s images

Users on the host: root; clara, who may use the engine; guest, who may not.
`, l.Dir, source.Host(), program, quoted(args), h.Dest(), h.Config, h.Name, h.Engine.Host())
}

// quoted joins the arguments so that every shell takes them as they are.
func quoted(args []string) string {
	for i, a := range args {
		if strings.ContainsAny(a, "[]*?~ ") {
			args[i] = "'" + a + "'"
		}
	}
	return strings.Join(args, " ")
}

func exists(path string) error {
	_, err := os.Stat(path)
	return err
}
