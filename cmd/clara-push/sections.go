package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// section is flags of a command that stand under one heading in its help.
type section struct {
	title string
	add   func(*pflag.FlagSet)
}

const helpWidth = 110

// addSections gives c its flags, and a help that shows them under their headings in the order in which they were added.
func addSections(c *cobra.Command, sections ...section) {
	var sets []*pflag.FlagSet
	for _, s := range sections {
		set := pflag.NewFlagSet(s.title, pflag.ContinueOnError)
		set.SortFlags = false
		s.add(set)
		c.Flags().AddFlagSet(set)
		sets = append(sets, set)
	}
	c.Flags().SortFlags = false
	c.SetUsageFunc(func(c *cobra.Command) error {
		w := c.OutOrStdout()
		fmt.Fprintf(w, "Usage:\n  %s\n", c.UseLine())
		if c.Example != "" {
			fmt.Fprintf(w, "\nExamples:\n%s\n", c.Example)
		}
		for n, set := range sets {
			fmt.Fprintf(w, "\n%s:\n%s", sections[n].title, set.FlagUsagesWrapped(helpWidth))
		}
		return nil
	})
}
