package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func newClean(r *report) *cobra.Command {
	var o connection
	var age time.Duration
	c := &cobra.Command{
		Use:   "clean [HOST]",
		Short: "Remove what interrupted pushes left in the stage of a host",
		Long: `Remove staged bytes of pushes to a host, or loads into this machine, that were never finished. What a running one holds stays.
Images, models, former ones and receipts are not touched.`,
		Args: hostOrHere,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.checkRepository(); err != nil {
				return err
			}
			o.anyEngine = true
			return within(c.Context(), o.timeout, func(ctx context.Context) error { return runClean(ctx, hostIn(args), age, o, r) })
		},
	}
	own := section{"Cleaning", func(f *pflag.FlagSet) {
		addRepositoryFlag(f, &o.repository)
		f.DurationVar(&age, "older-than", 0, "only what nobody touched for so long, such as 24h")
	}}
	addSections(c, append(append([]section{own}, o.sections()...), r.section())...)
	return c
}

func runClean(ctx context.Context, host string, age time.Duration, o connection, r *report) error {
	r.summary.Host = host
	s, err := sweep(ctx, host, age, o, r.event)
	if err != nil {
		return manifest.On(host, err)
	}
	r.summary.Swept = &sweptSum{Blobs: s.Blobs, Bytes: s.Bytes, Held: s.Held}
	r.note(sweptLine(named(host), s))
	return nil
}

func sweptLine(host string, s manifest.Swept) string {
	line := fmt.Sprintf("%s: %s freed (%s removed)", host, manifest.FormatBytes(s.Bytes), count(s.Blobs, "staged blob"))
	if s.Blobs == 0 {
		line = host + ": nothing to remove"
	}
	if s.Held > 0 {
		line += fmt.Sprintf("; %s kept, held by a push or too young", count(s.Held, "staged blob"))
	}
	return line
}
