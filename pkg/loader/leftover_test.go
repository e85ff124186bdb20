//go:build linux

package loader

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A clean-up removes what killed processes left for good, and nothing that somebody may be at.
func TestClearLeftovers(t *testing.T) {
	p := newPlacer(t)
	_, r := p.pushed("m", baseTree, manifest.Options{Keep: 1})
	state := filepath.Join(p.dir, "state")
	paths := []string{
		filepath.Join(state, "receipts", "tmp-1"), filepath.Join(state, "listings", "tmp-1"), filepath.Join(state, "journal", "tmp-1"),
		p.own("try-1"), p.own("digests", ".m.json1"),
	}
	old := time.Now().Add(-2 * sweepable)
	for _, path := range paths {
		err := os.MkdirAll(path, 0o700)
		if err := errors.Join(err, os.Mkdir(path+"young", 0o700), os.Chtimes(path, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	h := p.open()
	if _, err := h.Sweep(t.Context(), KeepStaged); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if exists(path) || !exists(path+"young") {
			t.Errorf("%s stays, or what is young went", path)
		}
	}
	if _, err := h.ReceiptByID(r.ID); err != nil || !exists(p.own("digests", "m.json")) {
		t.Errorf("the receipt went, or the digests: %v", err)
	}
}
