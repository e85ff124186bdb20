package source

import "github.com/clara-push/clara-push/pkg/manifest"

func malformed(format string, args ...any) error {
	return manifest.Fail(manifest.KindMalformed, "read image", format, args...)
}

func integrity(format string, args ...any) error {
	return manifest.Fail(manifest.KindIntegrity, "read image", format, args...)
}
