package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// loadOptions are the flags of `clara-push load`.
type loadOptions struct {
	connection
	serving        servingOptions
	trust          trustOptions
	only           only
	stdin          io.Reader
	minVersion     string
	allowDowngrade bool
	exact          bool
	reuseLayers    bool
	dryRun         bool
	keep           int
}

func newLoad(r *report) *cobra.Command {
	var o loadOptions
	c := &cobra.Command{
		Use:   "load BUNDLE [HOST]",
		Short: "Load a bundle into this machine, or into a host",
		Long: `Load a bundle: its images into the Docker Engine, its models into the model repository. Without a HOST it is loaded into this machine,
with no network and no SSH. BUNDLE may be any part of a bundle in parts, or - for one on standard input. Who signed it is checked
first, by an allowed_signers file of this site (clara-push verify --help tells more). Everything is checked before anything is
changed; only what is missing is read. Each image is proven before it gets its name, each model changes in one step; what they
replace is kept for clara-push rollback.

A load that was interrupted goes on when the same command is run again.`,
		Example: `  clara-push load /media/usb/liver-1.2.tar
  clara-push load --only model=segmentation_liver_v1 liver-1.2.tar
  clara-push load liver-1.2.tar gpu01`,
		Args: bundleAndHost,
		RunE: func(c *cobra.Command, args []string) error {
			o.stdin = c.InOrStdin()
			return within(c.Context(), o.timeout, func(ctx context.Context) error { return runLoad(ctx, args[0], hostIn(args[1:]), o, r) })
		},
	}
	own := []section{{"Load", o.addFlags}, {"Signature", o.trust.addFlags}, {"Server", o.serving.addFlags}}
	addSections(c, append(append(own, o.sections()...), r.section())...)
	return c
}

func (o *loadOptions) addFlags(f *pflag.FlagSet) {
	f.Var(&o.only, "only", "load only this: `image=NAME:TAG` or model=NAME; may be repeated")
	addRepositoryFlag(f, &o.repository)
	f.StringVar(&o.minVersion, "min-version", "", "refuse a bundle whose `version` is lower than this")
	f.BoolVar(&o.allowDowngrade, "allow-downgrade", false, "load an older version of an application than the one that was loaded last")
	f.IntVar(&o.keep, "keep", 1, "how many former images and states of each model stay for clara-push rollback")
	f.BoolVar(&o.exact, "exact", false, "remove version folders of models that only the host has")
	f.BoolVar(&o.reuseLayers, "reuse-layers", false, "use layers that the host has in another compression; the manifest digest then changes")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be read and changed, and load nothing")
	f.Var(&o.limitRate, "limit-rate", "to a HOST, send at most so many bytes a second, such as 800k or 5MB")
}

// only is a flag's value: image=NAME or model=NAME, several times.
type only []string

// Set adds one image or model.
func (s *only) Set(text string) error {
	if kind, name, _ := strings.Cut(text, "="); name != "" && (kind == "image" || kind == "model") {
		*s = append(*s, text)
		return nil
	}
	return manifest.Fail(manifest.KindUsage, "", "write image=NAME:TAG or model=NAME")
}

func (s *only) String() string { return "" }

// Type is the word for the value in the help.
func (s *only) Type() string { return "image=NAME:TAG" }

// bundleAndHost is met by no word, or more than two.
func bundleAndHost(c *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return manifest.Fail(manifest.KindUsage, "", "which bundle?").Advise("clara-push %s", c.Use)
	case 1:
		return nil
	case 2:
		if err := noEmptyHost(args[1:]); err != nil {
			return err
		}
		return backwards(args[0], args[1])
	}
	return manifest.Fail(manifest.KindUsage, "", "one bundle and at most one host, %d words are given", len(args)).Advise("clara-push %s", c.Use)
}

// backwards finds a bundle that stands where the host belongs. What the name of a host may be is looked at elsewhere.
func backwards(bundle, host string) error {
	for _, name := range []string{bundle, bundle + ".001", bundle + ".parts.json"} {
		if _, err := os.Stat(name); bundle == stdin || !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if info, err := os.Stat(host); err == nil && info.Mode().IsRegular() {
		return manifest.Fail(manifest.KindUsage, "", "%s is not there, and %s is a file", bundle, host).
			Advise("the bundle comes first: clara-push load %s %s", host, bundle)
	}
	return nil
}

func runLoad(ctx context.Context, bundle, host string, o loadOptions, r *report) error {
	r.summary.Host, r.summary.DryRun, r.summary.Repository = host, o.dryRun, o.repository
	if host == "" {
		r.verb = "reading"
	}
	if err := checkKeep(o.keep); err != nil {
		return err
	}
	if err := o.serving.check(o.keep); err != nil {
		return err
	}
	if err := o.checkRepository(); err != nil {
		return err
	}
	res, err := load(ctx, bundle, host, o, r.event)
	r.summary.addLoad(res)
	r.warnings(loadWarnings(named(host), res)...)
	if err != nil {
		r.notes(halfLines(named(host), res))
		return manifest.On(host, err)
	}
	if o.dryRun {
		r.result(loadPlanLines(named(host), res))
		return nil
	}
	if err := unloaded(res); err != nil {
		return manifest.On(host, err)
	}
	r.notes(append(loadedLines(named(host), res), res.server.lines()...))
	return nil
}

// checkKeep finds a number of former states that nobody can keep.
func checkKeep(keep int) error {
	switch {
	case keep < 0:
		return manifest.Fail(manifest.KindUsage, "", "--keep must not be negative")
	case keep > maxKeep:
		return manifest.Fail(manifest.KindUsage, "", "--keep is at most %d", maxKeep)
	}
	return nil
}
