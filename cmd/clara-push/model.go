package main

import (
	"context"
	"errors"
	"os"
	"path"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// defaultRepository is where Clara Deploy's Triton looks for models.
const defaultRepository = "/clara/common/models"

// modelOptions are the flags of `clara-push model`.
type modelOptions struct {
	connection
	serving          servingOptions
	config, cacheDir string
	exact, dryRun    bool
	strict           bool
	tritonVersion    string
	keep             int
}

func newModel(r *report) *cobra.Command {
	var o modelOptions
	c := &cobra.Command{
		Use:   "model DIR... HOST",
		Short: "Place Triton models into the model repository of a host",
		Long: `Place Triton models into the model repository of a host. Each DIR becomes the model of the same name there. Only the files that
the host lacks travel; the model then changes in one step, so that a server that looks at any moment sees the old model or the new one,
whole. The former one is kept for clara-push rollback.

DIR is a model directory: it holds config.pbtxt and a folder for each version. The host needs sshd, and no container engine.

A push that was interrupted goes on where it stopped when the same command is run again.`,
		Example: `  clara-push model sampleData/models/segmentation_liver_v1 gpu01
  clara-push model --config app/config/config.pbtxt models/segmentation_liver_v1 deploy@gpu01:2222
  clara-push model --triton http://localhost:8000 --rollback-on-failure models/* gpu01
  clara-push model --dry-run models/* gpu01`,
		Args: modelsAndHost,
		RunE: func(c *cobra.Command, args []string) error {
			dirs, host := args[:len(args)-1], args[len(args)-1]
			err := within(c.Context(), o.timeout, func(ctx context.Context) error { return runModel(ctx, dirs, host, o, r) })
			return hostLast(host, err)
		},
	}
	own := []section{{"Push", o.addFlags}, {"Server", o.serving.addFlags}, {"Source", o.addSourceFlags}}
	addSections(c, append(append(own, o.sections()...), r.section())...)
	return c
}

func (o *modelOptions) addFlags(f *pflag.FlagSet) {
	addRepositoryFlag(f, &o.repository)
	f.BoolVar(&o.exact, "exact", false, "remove version folders that only the host has")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would travel and change, and push nothing")
	f.IntVar(&o.keep, "keep", 1, "how many former states of each model stay on the host for clara-push rollback")
	f.Var(&o.limitRate, "limit-rate", "send at most so many bytes a second, such as 800k or 5MB")
}

func (o *modelOptions) addSourceFlags(f *pflag.FlagSet) {
	f.StringVar(&o.config, "config", "", "`file` that takes the place of the model's config.pbtxt")
	f.BoolVar(&o.strict, "strict", false, "refuse a model for what is otherwise a warning")
	f.StringVar(&o.tritonVersion, "triton-version", "", "`version` of the server whose rules count, such as 19.08 or 20.07-v1 (default: what the server of --triton says, else the current one)")
	f.StringVar(&o.cacheDir, "cache-dir", "", "`folder` that remembers the digests of files (default: clara-push in the user's cache folder)")
}

func addRepositoryFlag(f *pflag.FlagSet, repository *string) {
	f.StringVar(repository, "repository", defaultRepository, "`folder` on the host that Triton serves models from")
}

// modelsAndHost is met by too few words.
func modelsAndHost(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return manifest.Fail(manifest.KindUsage, "", "which model, and which host?").Advise("clara-push model DIR... HOST")
	case 1:
		return manifest.Fail(manifest.KindUsage, "", "which host?").Advise("clara-push model DIR... HOST")
	}
	return nil
}

// hostLast says of a failure that it may come from a folder standing where the host belongs.
func hostLast(host string, err error) error {
	var f *manifest.Failure
	if info, e := os.Stat(host); e != nil || !info.IsDir() || !errors.As(err, &f) {
		return err
	}
	switch f.Kind {
	case manifest.KindUsage, manifest.KindNotFound, manifest.KindConnect:
		also := host + " is a folder here: is the host missing? It comes last, as in clara-push model DIR... HOST"
		if f.Hint != "" {
			also = f.Hint + "; " + also
		}
		return f.Advise("%s", also)
	}
	return err
}

// useRepository checks the name of a folder of models, and makes the connection one for models alone.
func (c *connection) useRepository() error {
	c.modelsOnly = true
	return c.checkRepository()
}

// checkRepository checks the name of a folder of models.
func (c *connection) checkRepository() error {
	if !path.IsAbs(c.repository) || path.Clean(c.repository) == "/" {
		return manifest.Fail(manifest.KindUsage, "", "--repository %q is not the absolute path of a folder", c.repository).
			Advise("name it as on the host, such as --repository %s", defaultRepository)
	}
	return nil
}

func runModel(ctx context.Context, dirs []string, host string, o modelOptions, r *report) error {
	r.summary.Host, r.summary.DryRun, r.summary.Repository = host, o.dryRun, o.repository
	if err := checkKeep(o.keep); err != nil {
		return err
	}
	if err := o.serving.check(o.keep); err != nil {
		return err
	}
	if err := o.useRepository(); err != nil {
		return err
	}
	l, err := o.lint(ctx, dirs, r.warnings)
	if err != nil {
		return err
	}
	res, err := pushModels(ctx, host, o, l, r.event)
	r.summary.addModels(res)
	r.summary.addServer(res.server)
	r.warnings(modelWarnings(res)...)
	if err != nil {
		return manifest.On(host, err)
	}
	if o.dryRun {
		r.result(modelPlanLines(host, res))
		return nil
	}
	if err := unplaced(res); err != nil {
		return manifest.On(host, err)
	}
	r.notes(slices.Concat(modelDoneLines(host, res), res.server.lines(), receiptLines(host, res.Receipt)))
	return nil
}
