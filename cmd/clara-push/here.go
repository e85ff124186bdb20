package main

import (
	"github.com/spf13/cobra"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// hostIn is the HOST among the words of a command; empty is this machine.
func hostIn(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// named is what a host is called in front of people.
func named(host string) string {
	if host == "" {
		return "this machine"
	}
	return host
}

// hostOrHere is met by at most one word.
func hostOrHere(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return manifest.Fail(manifest.KindUsage, "", "one host only, %d words are given", len(args)).Advise("clara-push %s", c.Use)
	}
	return noEmptyHost(args)
}

// noEmptyHost is met by a host that is named and empty, such as a variable of a script that nobody has set: that must not become
// this machine.
func noEmptyHost(hosts []string) error {
	if len(hosts) > 0 && hosts[0] == "" {
		return manifest.Fail(manifest.KindUsage, "", "the host has an empty name").Advise("leave the word out to mean this machine")
	}
	return nil
}
