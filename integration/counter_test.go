//go:build linux

package integration

import (
	"testing"

	"github.com/clara-push/clara-push/integration/link"
)

// newCounter starts a proxy in front of an address, that does nothing but count; it ends with the test.
func newCounter(t testing.TB, to string) *link.Proxy {
	t.Helper()
	return newLine(t, to, link.Options{})
}
