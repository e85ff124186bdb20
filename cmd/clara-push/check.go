package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func newCheck(r *report) *cobra.Command {
	var o connection
	c := &cobra.Command{
		Use:   "check HOST",
		Short: "Tell whether a push to a host would work",
		Long: `Connect to a host as a push would, put the agent there, and print what it finds: engine, store, platform, space, rights; and
whether models can be placed, or what a person must do once so that they can. The exit code tells whether a push would work: of
images, or with --repository of models to that folder, for which the host needs no engine.`,
		Args: oneHost,
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("repository") {
				if err := o.useRepository(); err != nil {
					return err
				}
			}
			return within(c.Context(), o.timeout, func(ctx context.Context) error { return runCheck(ctx, args[0], o, r) })
		},
	}
	own := section{"Models", func(f *pflag.FlagSet) { addRepositoryFlag(f, &o.repository) }}
	addSections(c, append(append([]section{own}, o.sections()...), r.section())...)
	return c
}

// oneHost is met by anything but one word.
func oneHost(c *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return manifest.Fail(manifest.KindUsage, "", "which host?").Advise("clara-push %s", c.Use)
	case 1:
		return nil
	}
	return manifest.Fail(manifest.KindUsage, "", "one host only, %d words are given", len(args)).Advise("clara-push %s", c.Use)
}

func runCheck(ctx context.Context, host string, o connection, r *report) error {
	r.summary.Host = host
	inv, err := inventory(ctx, host, o, r.event)
	if err != nil {
		return manifest.On(host, err)
	}
	r.summary.addTarget(inv)
	err = roomLeft(inv)
	if o.modelsOnly && err == nil {
		err = manifest.Placeable(inv.Repository)
	}
	r.result(targetLines(host, inv, err == nil, time.Now()))
	r.warnings(inv.Warnings...)
	return manifest.On(host, err)
}

// roomLeft fails when not even the smallest image would find room.
func roomLeft(inv manifest.Inventory) error {
	for _, s := range []manifest.Space{inv.Stage, inv.Data} {
		if s.Path != "" && (s.Free == 0 || s.Inodes == 0) {
			return manifest.Fail(manifest.KindSpace, "check space", "nothing is free in %s", s.Path).Advise("delete files there")
		}
	}
	return nil
}
