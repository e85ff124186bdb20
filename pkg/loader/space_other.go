//go:build !unix

package loader

import "github.com/clara-push/clara-push/pkg/manifest"

// spaceAt cannot tell here how much room there is.
func spaceAt(path string) manifest.Space {
	return manifest.Space{Path: path, Free: manifest.UnknownSize, Inodes: manifest.UnknownSize}
}
