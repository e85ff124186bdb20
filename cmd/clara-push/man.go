//go:build manual

package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// forPackaging are commands that packages are made with and no host needs. What they take with them, a writer of manual pages
// and a reader of YAML, is half a megabyte of every agent that travels.
func forPackaging() []*cobra.Command { return []*cobra.Command{newMan()} }

// newMan writes the manual pages into a folder.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a folder",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			// A fixed date: the same source gives the same pages.
			epoch := time.Unix(0, 0).UTC()
			root := c.Root()
			root.DisableAutoGenTag = true
			root.InitDefaultCompletionCmd()
			head := &doc.GenManHeader{Title: "CLARA-PUSH", Section: "1", Source: "clara-push " + versionText(), Manual: "clara-push", Date: &epoch}
			return doc.GenManTree(root, head, args[0])
		},
	}
}
