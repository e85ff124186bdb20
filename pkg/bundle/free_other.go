//go:build !unix

package bundle

import "github.com/clara-push/clara-push/pkg/manifest"

// freeBytes cannot tell.
func freeBytes(string) int64 { return manifest.UnknownSize }

func noSpace(error) bool { return false }
