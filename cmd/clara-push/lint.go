package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/triton"
)

// lintOptions are the flags of `clara-push lint`.
type lintOptions struct {
	config, tritonVersion string
	strict                bool
}

func newLint(r *report) *cobra.Command {
	var o lintOptions
	c := &cobra.Command{
		Use:   "lint DIR...",
		Short: "Check Triton models by the server's rules, without a host",
		Long: `Check model directories as Triton would read them, and print what it would refuse, misread or ignore: where, what is wrong, and what
to do. Several are checked as the models of one repository, so that an ensemble finds its steps. Nothing is connected to, executed or
changed.

clara-push model runs the same check before it connects.`,
		Example: `  clara-push lint models/*
  clara-push lint --triton-version 19.08 --strict sampleData/models/segmentation_liver_v1
  clara-push lint --config app/config/config.pbtxt models/segmentation_liver_v1`,
		Args: someModels,
		RunE: func(c *cobra.Command, args []string) error { return runLint(c.Context(), args, o, r) },
	}
	addSections(c, section{"Check", o.addFlags}, r.section())
	return c
}

func (o *lintOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.strict, "strict", false, "refuse a model for what is otherwise a warning")
	f.StringVar(&o.tritonVersion, "triton-version", "", "`version` of the server whose rules count, such as 19.08 or 20.07-v1 (default: the current one)")
	f.StringVar(&o.config, "config", "", "`file` that takes the place of the model's config.pbtxt")
}

// someModels is met by no word at all.
func someModels(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return manifest.Fail(manifest.KindUsage, "", "which model?").Advise("clara-push lint DIR...")
	}
	return nil
}

func runLint(ctx context.Context, dirs []string, o lintOptions, r *report) error {
	rules := triton.Options{ConfigFile: o.config}
	if o.tritonVersion != "" {
		var err error
		if rules.Version, err = triton.ParseServerVersion(o.tritonVersion); err != nil {
			return err
		}
	}
	reports, err := triton.CheckAll(ctx, dirs, rules)
	if err != nil {
		return err
	}
	for _, m := range reports {
		r.findings(m)
	}
	return verdict(reports, o.strict, r)
}

// findingLine is a finding as --json prints it.
type findingLine struct {
	Event string `json:"event"` // "finding"
	Time  string `json:"time"`
	Model string `json:"model"`
	triton.Finding
}

// findings prints what was found out about a model.
func (r *report) findings(m triton.Report) {
	for _, f := range m.Findings {
		f.File, f.Text, f.Advice = manifest.Plain(f.File), manifest.Plain(f.Text), manifest.Plain(f.Advice)
		r.record(findingLine{Event: "finding", Time: stamp(), Model: manifest.Plain(m.Model), Finding: f})
		r.result([]string{f.String(), "  → " + f.Advice})
	}
}

// verdict says how many models passed, and fails when one did not.
func verdict(reports []triton.Report, strict bool, r *report) error {
	refused, warnings := 0, 0
	for _, m := range reports {
		if m.Err(strict) != nil {
			refused++
		}
		warnings += m.Count(triton.Warn)
	}
	if refused == 0 {
		r.note(fmt.Sprintf("%s good, %s", count(len(reports), "model"), count(warnings, "warning")))
		return nil
	}
	return manifest.Fail(manifest.KindModel, "", "%d of %s refused by Triton's rules", refused, count(len(reports), "model")).
		Advise("correct what is said above and run clara-push lint again")
}
