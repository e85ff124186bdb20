package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
)

const about = `clara-push puts container images and Triton models onto a host over SSH: images into its Docker Engine, proven and tagged,
models into its model repository, in one step, sending only what the host lacks. The host needs sshd, and Docker for images.

    clara-push image app_livertumor gpu01                  push an image of the local Docker Engine
    clara-push model models/segmentation_liver_v1 gpu01    place a model
    clara-push bundle -o release.tar --image app_livertumor --model models/segmentation_liver_v1
                                                           write both into a file, for a host without a network
    clara-push load release.tar                            load that file, on the host itself
    clara-push status gpu01                                what was placed, and is it still so?
    clara-push rollback gpu01                              take the last push or load back
    clara-push check gpu01                                 would a push work?

HOST is [user@]name[:port], an alias of your ssh_config, or ssh://user@name:port. clara-push connects as ssh does: the
same configuration, keys, agent and known_hosts.

`

// execute builds the command line, finds the command that args name and runs it.
func execute(ctx context.Context, args []string, stdio IO, r *report) error {
	started := false
	root := newRoot(stdio, r)
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	root.SetArgs(args)
	root.SetIn(stdio.In)
	root.SetOut(stdio.Out)
	root.SetErr(stdio.Err)
	c, err := root.ExecuteContextC(ctx)
	if c != root {
		r.summary.Command = c.Name()
	}
	var f *manifest.Failure
	if err != nil && !started && !errors.As(err, &f) {
		return manifest.Fail(manifest.KindUsage, "", "%w", err).Advise("clara-push --help lists the commands")
	}
	return err
}

func newRoot(stdio IO, r *report) *cobra.Command {
	root := &cobra.Command{
		Use:           "clara-push",
		Short:         "Put container images and Triton models onto a host over SSH, sending only what it lacks",
		Long:          about + exitCodes,
		Version:       versionText(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		RunE: func(c *cobra.Command, _ []string) error {
			return manifest.Fail(manifest.KindUsage, "", "which command? %s", names(c)).Advise("clara-push --help tells more")
		},
	}
	root.Flags().Bool("version", false, "print the version") // else -v would mean it
	root.SetVersionTemplate("clara-push {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newImage(r), newModel(r), newBundle(r), newInspect(r), newVerify(r), newLoad(r), newStatus(r), newRollback(r), newRemove(r), newLint(r), newCheck(r), newClean(r), newVersion(r), newExitCodes(), newAgent(stdio))
	root.AddCommand(forPackaging()...)
	return root
}

// knownCommand is met by words that are no command.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	f := manifest.Fail(manifest.KindUsage, "", "unknown command %q", args[0])
	var known []string
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			known = append(known, sub.Name())
		}
	}
	if best := nearest(args[0], known); best != "" {
		return f.Advise("did you mean clara-push %s?", best)
	}
	return f.Advise("clara-push --help lists the commands")
}

func names(c *cobra.Command) string {
	var n []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			n = append(n, sub.Name())
		}
	}
	return strings.Join(n, ", ")
}

// flagError is met by flags that do not exist or have a wrong value.
func flagError(c *cobra.Command, err error) error {
	f := manifest.Fail(manifest.KindUsage, "", "%w", err)
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		var known []string
		c.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if best := nearest(unknown.GetSpecifiedName(), known); best != "" {
			return f.Advise("did you mean --%s?", best)
		}
	}
	return f.Advise("%s --help lists the flags", c.CommandPath())
}
