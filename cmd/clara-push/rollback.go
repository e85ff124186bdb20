package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func newRollback(r *report) *cobra.Command {
	var o connection
	var what selection
	c := &cobra.Command{
		Use:   "rollback [HOST]",
		Short: "Take the last push or load back",
		Long: `Take the last push or load to a host, or to this machine, back as a whole: each name returns to the former image, each model to its
former state; what was new goes. With --image or --model, only what the last push of those replaced. Run again, it goes one
further back, as far as former states are kept (--keep of the push).

What is kept is checked before anything changes. What somebody else has changed since is not thrown away: the rollback is refused
with 24, unless --force. What a rollback replaces is not kept. A rolled back load no longer counts as the version loaded last.`,
		Example: `  clara-push rollback
  clara-push rollback gpu01
  clara-push rollback gpu01 --model segmentation_liver_v1`,
		Args: hostOrHere,
		RunE: func(c *cobra.Command, args []string) error {
			return within(c.Context(), o.timeout, func(ctx context.Context) error {
				return runChange(ctx, hostIn(args), manifest.Selection(what), o, r, rollback)
			})
		},
	}
	own := section{"Rollback", func(f *pflag.FlagSet) {
		what.addFlags(f)
		addPlacedFlag(f, &o.repository)
	}}
	addSections(c, append(append([]section{own}, o.sections()...), r.section())...)
	return c
}

func newRemove(r *report) *cobra.Command {
	var o connection
	var what selection
	c := &cobra.Command{
		Use:   "remove [HOST] --image NAME:TAG | --model NAME",
		Short: "Take away what clara-push placed",
		Long: `Take images and models that clara-push placed on a host, or on this machine, away, with the former states that are kept of them. It
cannot be taken back. Only what a receipt tells of is removed, and only as it was placed; what somebody else has changed since is
refused with 24, unless --force. An image that a container uses stays, under a name of clara-push's own.`,
		Example: `  clara-push remove gpu01 --image app_livertumor:1.2 --model segmentation_liver_v1`,
		Args:    hostOrHere,
		RunE: func(c *cobra.Command, args []string) error {
			if manifest.Selection(what).Empty() {
				return manifest.Fail(manifest.KindUsage, "", "what is to be removed?").Advise("clara-push %s", c.Use)
			}
			return within(c.Context(), o.timeout, func(ctx context.Context) error {
				return runChange(ctx, hostIn(args), manifest.Selection(what), o, r, remove)
			})
		},
	}
	own := section{"Removal", func(f *pflag.FlagSet) {
		what.addFlags(f)
		addPlacedFlag(f, &o.repository)
	}}
	addSections(c, append(append([]section{own}, o.sections()...), r.section())...)
	return c
}

// addPlacedFlag is addRepositoryFlag for what was placed already.
func addPlacedFlag(f *pflag.FlagSet, repository *string) {
	f.StringVar(repository, "repository", "", "`folder` that the models lie in (default: where the receipts say)")
}

// change is rollback or remove.
type change func(context.Context, string, manifest.Selection, connection, manifest.Events) (manifest.Receipt, error)

func runChange(ctx context.Context, host string, what manifest.Selection, o connection, r *report, do change) error {
	r.summary.Host, r.summary.Repository = host, o.repository
	if o.repository != "" {
		if err := o.checkRepository(); err != nil {
			return err
		}
	}
	o.anyEngine = true // models alone need none
	receipt, err := do(ctx, host, what, o, r.event)
	r.summary.addReceipt(receipt)
	r.warnings(receipt.Warnings...)
	if err != nil {
		return manifest.On(host, err)
	}
	for _, d := range receipt.Images {
		r.summary.Images = append(r.summary.Images, sumDoneImage(d))
		r.note(fmt.Sprintf("%s → %s: %s", d.Ref, named(host), nameAfter(d)))
	}
	for _, d := range receipt.Models {
		r.summary.Models = append(r.summary.Models, sumDone(d))
		r.note(fmt.Sprintf("%s → %s: %s", d.Name, named(host), putBack(d)))
	}
	r.notes(receiptLines(named(host), receipt))
	return nil
}

// asItWas is said of what a rollback need not touch.
const asItWas = "left as it is, it was so before the push already"

// nameAfter says what became of a name.
func nameAfter(d manifest.Done) string {
	switch {
	case d.Action == manifest.ActionRemove && d.Before.ID == "":
		return "removed, nothing bore the name any more"
	case d.Action == manifest.ActionRemove:
		return "removed"
	case !d.Changed():
		return asItWas
	case d.After.ID == "":
		return "rolled back, the name is gone, as before the push"
	}
	return "rolled back, it points at the former image again"
}

func putBack(d manifest.DoneModel) string {
	switch {
	case d.Place == manifest.PlaceRemove:
		return "removed"
	case !d.Changed():
		return asItWas
	case d.Gone && d.Entry == "":
		return "rolled back, the model is gone, as before the push"
	case d.Gone:
		return "rolled back, " + entryText(d.Entry) + " is gone, as before the push"
	case d.Entry == "":
		return "rolled back, the former model is back"
	}
	return "rolled back, the former " + entryText(d.Entry) + " is back"
}

func sumDoneImage(d manifest.Done) imageSum {
	sum := imageSum{
		Ref: manifest.Plain(d.Ref), Action: d.Action, Done: true, Before: &d.Before, After: &d.After, Keeper: manifest.Plain(d.Keeper),
		StillRunning: containerNames(d.Stale), Proof: plains(d.Proof),
	}
	return sum
}

// entryText names what lies right in a model: a version by its number.
func entryText(entry string) string {
	if manifest.IsVersion(entry) {
		return "version " + entry
	}
	return entry
}
