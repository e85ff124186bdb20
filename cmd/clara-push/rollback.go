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
	var model string
	c := &cobra.Command{
		Use:   "rollback HOST --model NAME",
		Short: "Put back what the last push of a model replaced",
		Long: `Put back what the last push of a model replaced, in one step, after checking that it is still what it was. A model that the last push
created is taken away. What the rollback replaces is not kept. Which states there are to go back to is said by --keep of clara-push model.`,
		Example: `  clara-push rollback gpu01 --model segmentation_liver_v1`,
		Args:    oneHost,
		RunE: func(c *cobra.Command, args []string) error {
			return within(c.Context(), o.timeout, func(ctx context.Context) error { return runRollback(ctx, args[0], model, o, r) })
		},
	}
	own := section{"Rollback", func(f *pflag.FlagSet) {
		f.StringVar(&model, "model", "", "`name` of the model")
		addRepositoryFlag(f, &o.repository)
	}}
	addSections(c, append(append([]section{own}, o.sections()...), r.section())...)
	return c
}

func runRollback(ctx context.Context, host, model string, o connection, r *report) error {
	r.summary.Host, r.summary.Repository = host, o.repository
	if model == "" {
		return manifest.Fail(manifest.KindUsage, "", "which model?").Advise("clara-push rollback HOST --model NAME")
	}
	if err := o.useRepository(); err != nil {
		return err
	}
	receipt, err := rollback(ctx, host, model, o, r.event)
	r.summary.addReceipt(receipt)
	r.warnings(receipt.Warnings...)
	if err != nil {
		return manifest.On(host, err)
	}
	for _, d := range receipt.Models {
		r.summary.Models = append(r.summary.Models, sumDone(d))
		r.note(fmt.Sprintf("%s → %s: rolled back, %s", d.Name, host, putBack(d)))
	}
	return nil
}

func putBack(d manifest.DoneModel) string {
	switch {
	case d.Gone && d.Entry == "":
		return "the model is gone, as before the push"
	case d.Gone:
		return d.Entry + " is gone, as before the push"
	case d.Entry == "":
		return "the former model is back"
	}
	return "the former " + d.Entry + " is back"
}
