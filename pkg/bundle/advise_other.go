//go:build !linux

package bundle

import "os"

// advise does nothing where the system decides by itself.
func advise(*os.File) {}
