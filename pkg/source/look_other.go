//go:build !linux

package source

import "io/fs"

// lookOf knows size and time only, where the system's own fields differ from Linux's.
func lookOf(info fs.FileInfo) look {
	return look{Size: info.Size(), MTime: info.ModTime().UnixNano()}
}
