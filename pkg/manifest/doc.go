// Package manifest holds the nouns of clara-push and the decisions about them: what is to be pushed (Artifacts), what a
// host has (Inventory), what follows (Plan, by Diff), what was done (Receipt), and how it went wrong (Failure).
//
// It does no I/O and imports nothing of ours: everything here is a plain value that travels as JSON between the two ends
// of a push. Reading images is package source, placing them is package loader.
//
// Read Image first, then Inventory, then Diff.
package manifest
