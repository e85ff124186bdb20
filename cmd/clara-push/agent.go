package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

var errNotSpoken = errors.New("not spoken")

// newAgent is what runs on a host: it answers a client on stdin and stdout. People do not call it, sshd does.
func newAgent(stdio IO) *cobra.Command {
	var speaks int
	c := &cobra.Command{
		Use:    "agent",
		Short:  "Serve a clara-push on the other end of stdin and stdout",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("speaks") {
				return spoken(stdio, speaks)
			}
			return serve(c.Context(), stdio)
		},
	}
	c.Flags().IntVar(&speaks, "speaks", 0, "serve nothing; greet if this version of the protocol is spoken, else end with 64")
	return c
}

// spoken says the agent's greeting: another program of this name might end with 0, whatever it is asked.
func spoken(stdio IO, protocol int) error {
	if protocol == wire.Protocol {
		_, err := io.WriteString(stdio.Out, wire.Greeting())
		return err
	}
	return manifest.Fail(manifest.KindInternal, "", "protocol %d is %w here, %d is", protocol, errNotSpoken, wire.Protocol)
}
