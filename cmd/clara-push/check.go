package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/renameio/v2/maybe"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// checkOptions are the flags of `clara-push check`.
type checkOptions struct {
	connection
	models    bool   // the question is whether models can be placed
	inventory string // file that the inventory is written to
}

func newCheck(r *report) *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check [HOST]",
		Short: "Tell whether a push to a host, or a load into this machine, would work",
		Long: `Connect to a host as a push would, put the agent there, and print what it finds: engine, store, platform, space, rights; and
whether models can be placed, or what a person must do once so that they can. Without a HOST it looks at this machine. The exit
code tells whether a push would work: of images, or with --repository of models to that folder, for which the host needs no engine.

With --inventory it also writes down what the host has, images, layers and models, for clara-push bundle --for FILE.`,
		Example: `  clara-push check gpu01
  clara-push check --inventory gpu01.json`,
		Args: hostOrHere,
		RunE: func(c *cobra.Command, args []string) error {
			o.models = c.Flags().Changed("repository")
			if err := o.checkRepository(); err != nil {
				return err
			}
			// An inventory of models tells of images too, where there is an engine.
			o.modelsOnly, o.anyEngine = o.models && o.inventory == "", o.models
			return within(c.Context(), o.timeout, func(ctx context.Context) error { return runCheck(ctx, hostIn(args), o, r) })
		},
	}
	own := section{"Check", func(f *pflag.FlagSet) {
		addRepositoryFlag(f, &o.repository)
		f.StringVar(&o.inventory, "inventory", "", "write what the host has to this `file`, as JSON")
	}}
	addSections(c, append(append([]section{own}, o.sections()...), r.section())...)
	return c
}

func runCheck(ctx context.Context, host string, o checkOptions, r *report) error {
	r.summary.Host = host
	all := o.inventory != ""
	q := manifest.Query{All: all, Models: &manifest.ModelQuery{All: all}}
	inv, err := inventory(ctx, host, q, o.connection, r.event)
	if err != nil {
		return manifest.On(host, err)
	}
	r.summary.addTarget(inv)
	err = roomLeft(inv)
	if o.models && err == nil {
		err = manifest.Placeable(inv.Repository)
	}
	r.result(targetLines(named(host), inv, err == nil, time.Now()))
	r.warnings(inv.Warnings...)
	if all {
		if e := writeInventory(o.inventory, inv); e != nil {
			return e
		}
		r.summary.Inventory = o.inventory
		r.note("inventory in " + o.inventory)
	}
	return manifest.On(host, err)
}

// writeInventory writes an inventory beside path and renames it.
func writeInventory(path string, inv manifest.Inventory) error {
	raw, err := json.Marshal(inv)
	if err == nil {
		err = maybe.WriteFile(path, append(raw, '\n'), 0o644)
	}
	if err != nil {
		return manifest.Fail(manifest.KindUsage, "write inventory", "%w", err).Advise("name a file that can be written")
	}
	return nil
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
