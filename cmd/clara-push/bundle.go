package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// bundleOptions are the flags of `clara-push bundle`.
type bundleOptions struct {
	images, models       []string
	output               string
	application, version string
	platform             platform
	engine, cacheDir     string
	config               string // of the one model
	tritonVersion        string
	strict               bool

	compression      compression
	recompress       bool
	split            size
	folder           bool
	since, inventory string
	withBinary       bool
	verify, noVerify bool
	sign             signOptions
	dryRun           bool
	timeout          time.Duration
}

func newBundle(r *report) *cobra.Command {
	var o bundleOptions
	c := &cobra.Command{
		Use:   "bundle -o FILE --image IMAGE... --model DIR...",
		Short: "Write images and models into one file, for hosts without a network",
		Long: `Write images and models into one file that a person carries to a host and loads there with clara-push load. It is an OCI image
layout; docker load and podman load can read the images in it too, but check no signature.

IMAGE and DIR are what clara-push image and clara-push model take. FILE is a tar. A FILE that ends in a slash, or --folder, means a folder.
--split SIZE cuts the tar into FILE.001, FILE.002 and so on, which cat joins, with a list FILE.parts.json. A FAT32 stick takes no file of
4 GiB and more: --split 4GB.

--sign signs it with an SSH key, so that hosts that know the key can tell who made it and that nobody changed it since.

--since and --for leave out what the site has: what is in another bundle that was loaded there, or what the inventory of the host names.

The same images, models and flags give the same bytes, unless the bundle is signed. SOURCE_DATE_EPOCH sets the time that is written into it.`,
		Example: `  clara-push bundle -o release-1.2.tar --image app_livertumor:1.2 --model models/segmentation_liver_v1 --application livertumor --version 1.2
  clara-push bundle -o /media/stick/release.tar --split 4GB --with-binary --image app_livertumor --model models/a --model models/b
  clara-push bundle -o update.tar --since release-1.1.tar --image app_livertumor:1.2 --model models/segmentation_liver_v1`,
		Args: noWords,
		RunE: func(c *cobra.Command, _ []string) error {
			return within(c.Context(), o.timeout, func(ctx context.Context) error { return runBundle(ctx, o, r) })
		},
	}
	addSections(c, section{"Contents", o.addContentFlags}, section{"Bundle", o.addFlags}, section{"Source", o.addSourceFlags}, r.section())
	return c
}

func (o *bundleOptions) addContentFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.images, "image", nil, "`image` to put into it; may be repeated")
	f.StringArrayVar(&o.models, "model", nil, "`folder` of a model to put into it; may be repeated")
	f.StringVar(&o.application, "application", "", "`name` of the application that this is a release of")
	f.StringVar(&o.version, "version", "", "`version` of the application; a host then refuses an older one")
	f.StringVar(&o.since, "since", "", "leave out what this other `bundle` names, which was loaded at the site")
	f.StringVar(&o.inventory, "for", "", "leave out what the host has by this inventory `file`")
}

func (o *bundleOptions) addFlags(f *pflag.FlagSet) {
	f.StringVarP(&o.output, "output", "o", "", "`file` to write, or a folder when it ends in a slash")
	f.BoolVar(&o.folder, "folder", false, "write a folder instead of a tar")
	f.Var(&o.split, "split", "cut the tar into files of this size, such as 4GB; for FAT32 needed from 4 GiB on")
	f.Var(&o.compression, "compression", "of layers that are not compressed yet: gzip, which every engine reads, zstd or none (default gzip)")
	f.BoolVar(&o.recompress, "recompress", false, "turn zstd layers into gzip; their digests and that of the manifest change")
	o.sign.addFlags(f)
	f.BoolVar(&o.withBinary, "with-binary", false, "put clara-push for the host beside it")
	f.BoolVar(&o.verify, "verify-write", false, "read it back from the medium afterwards (default: from removable media)")
	f.BoolVar(&o.noVerify, "no-verify-write", false, "do not read it back, not even from removable media")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be in it, and write nothing")
}

func (o *bundleOptions) addSourceFlags(f *pflag.FlagSet) {
	f.Var(&o.platform, "platform", "take this image of a multi-platform one (default: what the source takes)")
	f.StringVar(&o.engine, "engine", "", "`address` of the local engine (default: as the docker command finds it)")
	f.StringVar(&o.config, "config", "", "`file` that takes the place of the model's config.pbtxt")
	f.BoolVar(&o.strict, "strict", false, "refuse a model for what is otherwise a warning")
	f.StringVar(&o.tritonVersion, "triton-version", "", "`version` of the server whose rules count, such as 19.08 or 20.07-v1 (default: the current one)")
	f.StringVar(&o.cacheDir, "cache-dir", "", "`folder` that keeps layers read and compressed, and digests of files (default: clara-push in the user's cache folder)")
	f.DurationVar(&o.timeout, "timeout", 0, "give up after this time in all; 0: never")
}

// noWords is met by words behind the flags: one may be meant for --image or --model.
func noWords(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return manifest.Fail(manifest.KindUsage, "", "what is %q?", args[0]).Advise("each image is named with --image, each model with --model")
}

// check finds what is wrong with the flags before anything is looked for.
func (o *bundleOptions) check() error {
	usage := func(format string, args ...any) *manifest.Failure {
		return manifest.Fail(manifest.KindUsage, "", format, args...)
	}
	switch {
	case len(o.images)+len(o.models) == 0:
		return usage("which image, or which model?").Advise("clara-push bundle -o FILE --image IMAGE... --model DIR...")
	case o.output == "":
		return usage("which file shall be written?").Advise("clara-push bundle -o FILE --image IMAGE... --model DIR...")
	case o.output == stdin:
		return usage("a bundle is not written to standard output").Advise("name a file with -o")
	case o.config != "" && len(o.models) != 1:
		return usage("--config belongs to one model, but %d are given", len(o.models))
	case o.since != "" && o.inventory != "":
		return usage("--since and --for are two bases, and a bundle has one")
	case o.verify && o.noVerify:
		return usage("--verify-write and --no-verify-write are both given")
	}
	return o.checkOutput()
}

// checkOutput sees that the bundle does not take the place of what it is made from. A base must stay, because hosts that do not have it
// yet need it.
func (o *bundleOptions) checkOutput() error {
	for _, from := range append([]string{o.since, o.inventory}, o.images...) {
		files := []string{from}
		if from != "" && from == o.since {
			files = baseFiles(from)
		}
		for _, f := range files {
			if anySame(f, replacedBy(o.output)) {
				return manifest.Fail(manifest.KindUsage, "", "the bundle would take the place of %s, which it is made from", from).Advise("name another file with -o")
			}
		}
	}
	return nil
}

// replacedBy lists what a bundle written as out may take the place of: a file, a folder, or parts with their list.
func replacedBy(out string) []string { return []string{out, out + ".001", out + ".parts.json"} }

// baseFiles lists the files by which a base is known, however it was named: by itself, by a part, or by the folder of its parts.
func baseFiles(since string) []string {
	files := append(replacedBy(partOf.ReplaceAllString(since, "")), since)
	for _, pattern := range []string{"*.parts.json", "*.001"} {
		in, _ := filepath.Glob(filepath.Join(since, pattern)) // a folder with odd characters is only not looked into
		files = append(files, in...)
	}
	return files
}

// anySame reports whether path is one of the others, which need not be there.
func anySame(path string, others []string) bool {
	it, err := os.Stat(path)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(others, func(other string) bool {
		o, err := os.Stat(other)
		return err == nil && os.SameFile(it, o)
	})
}

// partOf is what makes the name of a bundle that of one of its parts, or of their list.
var partOf = regexp.MustCompile(`\.([0-9]{3}|parts\.json)$`)

// warnings say what hosts cannot do with the release as it is named.
func (o *bundleOptions) warnings() []string {
	var w []string
	if o.version != "" && o.application == "" {
		w = append(w, "--version without --application: no host will know that a later bundle is older than this")
	}
	if _, ok := manifest.CompareVersions(o.version, o.version); o.version != "" && !ok {
		w = append(w, fmt.Sprintf("version %q cannot be compared with others, so hosts may refuse it as too old; versions like 1.2.3 can", manifest.Plain(o.version)))
	}
	return w
}

func runBundle(ctx context.Context, o bundleOptions, r *report) error {
	r.summary.DryRun = o.dryRun
	if err := o.check(); err != nil {
		return err
	}
	w, err := o.writeOptions(r.event)
	if err != nil {
		return err
	}
	r.warnings(o.warnings()...)
	signer, err := o.sign.signer(ctx) // may ask for a passphrase, which is better now than in an hour
	if err != nil {
		return err
	}
	var needs map[string][]string
	if len(o.models) > 0 {
		l, err := lintModels(ctx, o.models, o.config, o.tritonVersion, o.strict, r.warnings)
		if err != nil {
			return err
		}
		if err := l.settled(); err != nil {
			return err
		}
		needs = l.needs()
	}
	b, err := writeBundle(ctx, o, w, signer, needs)
	r.summary.addBundle(b)
	r.warnings(b.warnings()...)
	if err != nil {
		return err
	}
	if o.dryRun {
		r.result(b.planLines(o.output))
		return nil
	}
	r.notes(b.doneLines(o.output))
	return nil
}
