//go:build linux

// Demo shows clara-push at work on one machine, in a lab that touches nothing else there: it builds an image in one engine,
// pushes it to another that stands behind a real sshd, changes the application, pushes again, and runs the result; then it
// pushes a Triton model, a change and a new version of it, and takes that back. It is not a test and measures nothing;
// integration/bench does. Read main, which tells the story, then stage.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/pkg/manifest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.source, "source", "", "kind of engine that builds the image: "+kinds()+" (default: the most modern there is)")
	flag.StringVar(&o.host, "host", string(lab.Docker2010), "kind of engine on the host")
	flag.Int64Var(&o.base, "base", 160, "size of the image's base layer in MB, at least 100")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run is the story.
func run(ctx context.Context, o options) error {
	s, err := setUp(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()

	for _, step := range []func(context.Context) error{s.check, s.first, s.second, s.third, s.result, s.modelFirst, s.modelConfig, s.modelVersion, s.modelBack} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return s.sum()
}

func (s *stage) check(ctx context.Context) error {
	s.say("1. Ask whether a push to %s would work. This brings the agent there, once.", host)
	return s.run(ctx, "check", host)
}

func (s *stage) first(ctx context.Context) error {
	s.say("2. Build %s, a base of %s of this machine's own files and the application on it, and push it. The host has\n"+
		"   nothing of it, so everything travels.", image, manifest.FormatBytes(s.base))
	if err := s.build(ctx, "version 1", 1); err != nil {
		return err
	}
	return s.push(ctx)
}

func (s *stage) second(ctx context.Context) error {
	s.say("3. Change the application, build and push again. The host has the base, so only the application's layer travels.")
	if err := s.build(ctx, "version 2", 2); err != nil {
		return err
	}
	return s.push(ctx)
}

func (s *stage) third(ctx context.Context) error {
	s.say("4. Push once more. Nothing changed, so no part of the image travels, and it is not even read.")
	return s.push(ctx)
}

func (s *stage) result(ctx context.Context) error {
	s.say("5. Run a container on %s. The former image is still there under another name, for a way back.", host)
	for _, command := range []string{"docker run --rm --network none " + image, "docker image ls"} {
		if err := s.show(ctx, command); err != nil {
			return err
		}
	}
	return nil
}
