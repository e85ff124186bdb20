package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/transfer/agentbin"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// Set by the linker in a release; empty otherwise.
var version, commit string

func newVersion(r *report) *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of clara-push and what it carries",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r.summary.Version = describeVersion()
			if !r.json {
				r.result(versionLines(r.summary.Version))
			}
			return nil
		},
	}
	addSections(c, section{"Flags", func(f *pflag.FlagSet) { f.BoolVar(&r.json, "json", r.json, "print a JSON object") }})
	return c
}

func describeVersion() *versionSums {
	return &versionSums{
		Version: versionText(), Commit: commitText(), Protocol: wire.Protocol, Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Agents: append([]string{}, agentbin.Embedded()...),
	}
}

func versionLines(v *versionSums) []string {
	built := v.Go + ", " + v.Platform
	if v.Commit != "" {
		built = "commit " + v.Commit + ", " + built
	}
	agents := "agents: none embedded; serves hosts of its own platform, others with --agent"
	if len(v.Agents) > 0 {
		agents = "agents: " + strings.Join(v.Agents, ", ") + " embedded"
	}
	return []string{
		fmt.Sprintf("clara-push %s (protocol %d)", v.Version, v.Protocol),
		"built: " + built,
		agents,
	}
}

// versionText is the release's version, else the module's as `go install` records it, else "devel".
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "devel"
}

func commitText() string {
	if commit != "" {
		return commit
	}
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
