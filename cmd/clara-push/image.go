package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// imageOptions are the flags of `clara-push image`.
type imageOptions struct {
	connection
	as               string
	platform         platform
	engine, cacheDir string
	dryRun           bool
	keep             int
	reuseLayers      bool
}

// maxKeep is what a host takes as --keep.
const maxKeep = 1000

func newImage(r *report) *cobra.Command {
	var o imageOptions
	c := &cobra.Command{
		Use:   "image IMAGE... HOST",
		Short: "Push images into the Docker Engine of a host",
		Long: `Push images into the Docker Engine of a host. Each ends up there proven and under its name; only what the host lacks travels.

IMAGE is the name of an image in the local engine, a registry reference, or the path of an archive (docker save, OCI; plain, gzip or
zstd) or of an OCI layout folder, looked for in that order of likelihood. engine://NAME, registry://REF, archive:PATH and
layout:PATH force one.

A push that was interrupted goes on where it stopped when the same command is run again.`,
		Example: `  clara-push image app_livertumor gpu01
  clara-push image --as app_livertumor:1.2 registry://registry.example.com/liver:1.2 deploy@gpu01:2222
  clara-push image --dry-run app_livertumor gpu01`,
		Args: imagesAndHost,
		RunE: func(c *cobra.Command, args []string) error {
			images, host := args[:len(args)-1], args[len(args)-1]
			if c.Flags().Changed("as") && o.as == "" { // of a variable that is not set, mostly
				return manifest.Fail(manifest.KindUsage, "", "--as is empty").Advise("write --as NAME:TAG, or leave it out")
			}
			return within(c.Context(), o.timeout, func(ctx context.Context) error { return runImage(ctx, images, host, o, r) })
		},
	}
	own := []section{{"Push", o.addFlags}, {"Source", o.addSourceFlags}}
	addSections(c, append(append(own, o.sections()...), r.section())...)
	return c
}

func (o *imageOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.as, "as", "", "`name:tag` that the image shall have on the host")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would travel, and push nothing")
	f.IntVar(&o.keep, "keep", 1, "how many former images stay on the host for a way back")
	f.BoolVar(&o.reuseLayers, "reuse-layers", false, "send fewest bytes: use layers that the host has in another compression; the manifest digest then changes")
	f.Var(&o.limitRate, "limit-rate", "send at most so many bytes a second, such as 800k or 5MB")
}

func (o *imageOptions) addSourceFlags(f *pflag.FlagSet) {
	f.Var(&o.platform, "platform", "take this image of a multi-platform one (default: the host's platform); with it, an image that is not for the host's platform is let through")
	f.StringVar(&o.engine, "engine", "", "`address` of the local engine (default: as the docker command finds it)")
	f.StringVar(&o.cacheDir, "cache-dir", "", "`folder` that keeps layers read from the local engine (default: clara-push in the user's cache folder)")
}

// imagesAndHost is met by too few words.
func imagesAndHost(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return manifest.Fail(manifest.KindUsage, "", "which image, and which host?").Advise("clara-push image IMAGE... HOST")
	case 1:
		return manifest.Fail(manifest.KindUsage, "", "which host?").Advise("clara-push image IMAGE... HOST")
	}
	return nil
}

func runImage(ctx context.Context, images []string, host string, o imageOptions, r *report) error {
	r.summary.Host, r.summary.DryRun = host, o.dryRun
	if o.as != "" && len(images) > 1 {
		return manifest.Fail(manifest.KindUsage, "", "--as names one image, %d are given", len(images))
	}
	if err := checkKeep(o.keep); err != nil {
		return err
	}
	res, err := push(ctx, images, host, o, r.event)
	r.summary.addPush(res)
	r.warnings(pushWarnings(host, res)...)
	if err != nil {
		r.notes(halfLines(host, res))
		return manifest.On(host, err)
	}
	if o.dryRun {
		r.result(planLines(host, res))
		return nil
	}
	if err := unreceipted(res); err != nil {
		return manifest.On(host, err)
	}
	r.notes(append(doneLines(host, res), receiptLines(host, res.Receipt)...))
	return nil
}
