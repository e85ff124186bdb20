package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func newStatus(r *report) *cobra.Command {
	var o connection
	c := &cobra.Command{
		Use:   "status [HOST]",
		Short: "List what clara-push placed, and whether it still is what the receipts say",
		Long: `List what clara-push placed on a host, or on this machine: each image and model with its receipt and the bundle that it came in, and
whether it still is as the receipt says. It ends with 24 when something is not: a name that somebody moved, a model of which a
file was edited, an image that is no longer whole. After a rollback it is compared with what the push before had placed; what was
there before clara-push is listed as that. Files that have not changed since the last look are not read.`,
		Example: `  clara-push status
  clara-push status gpu01`,
		Args: hostOrHere,
		RunE: func(c *cobra.Command, args []string) error {
			o.anyEngine, o.look = true, true
			return within(c.Context(), o.timeout, func(ctx context.Context) error { return runStatus(ctx, hostIn(args), o, r) })
		},
	}
	addSections(c, append(o.sections(), r.section())...)
	return c
}

func runStatus(ctx context.Context, host string, o connection, r *report) error {
	r.summary.Host = host
	s, err := status(ctx, host, o, r.event)
	if err != nil {
		return manifest.On(host, err)
	}
	s = plainStatus(s)
	r.summary.Status = &s
	r.warnings(s.Warnings...)
	r.result(statusLines(named(host), s))
	return manifest.On(host, drifted(s))
}

// selection is what rollback and remove are about.
type selection manifest.Selection

func (s *selection) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&s.Images, "image", nil, "`name:tag` of an image; may be repeated")
	f.StringArrayVar(&s.Models, "model", nil, "`name` of a model; may be repeated")
	f.BoolVar(&s.Force, "force", false, "also where somebody else has changed what was placed; what they changed is lost")
}
