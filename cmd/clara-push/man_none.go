//go:build !manual

package main

import "github.com/spf13/cobra"

// forPackaging is for builds with the tag manual.
func forPackaging() []*cobra.Command { return nil }
