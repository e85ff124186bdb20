//go:build linux

package loader

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestReceipts(t *testing.T) {
	h := &Host{dir: t.TempDir(), tool: "v1"}
	if _, err := h.LastReceipt(); manifest.KindOf(err) != manifest.KindNotFound {
		t.Errorf("none yet: %v", err)
	}
	now := time.Now()
	for n := range 3 {
		r := manifest.Receipt{ID: newReceiptID(now.Add(time.Duration(n) * time.Microsecond)), Images: []manifest.Done{{Ref: "app:1"}}, Warnings: []string{string(rune('a' + n))}}
		h.record(&r)
		info, err := os.Stat(r.Path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
	}
	for _, name := range []string{"20261122T140501Z-1f2e3d4c.json", "tmp-1", "README.json"} {
		if err := os.WriteFile(filepath.Join(h.receiptDir(), name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := h.Receipts()
	if err != nil || len(all) != 3 || all[0].Warnings[0] != "c" || all[2].Warnings[0] != "a" || all[0].Finished.IsZero() {
		t.Errorf("got %+v, %v", all, err)
	}
	if s, err := h.Status(t.Context()); err != nil || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "20261122T140501Z-1f2e3d4c") {
		t.Errorf("of the one that cannot be read it says %+v, %v", s, err)
	}
	last, err := h.LastReceipt()
	if err != nil || last.ID != all[0].ID || last.Path == "" {
		t.Errorf("got %+v, %v", last, err)
	}
	if one, err := h.ReceiptByID(all[1].ID); err != nil || one.Warnings[0] != "b" {
		t.Errorf("got %+v, %v", one, err)
	}
	for id, kind := range map[string]manifest.Kind{
		"20261122T140501Z-1f2e3d4c": manifest.KindMalformed, "20261122T140501Z-00000000": manifest.KindNotFound, "../lock": manifest.KindNotFound,
	} {
		if _, err := h.ReceiptByID(id); manifest.KindOf(err) != kind {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestReceiptNotWritten sees that a receipt that cannot be written is said, and does not fail what was done.
func TestReceiptNotWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := &Host{dir: file}
	r := manifest.Receipt{ID: newReceiptID(time.Now())}
	if h.record(&r); r.Path != "" || len(r.Warnings) != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestReceiptIDsSort(t *testing.T) {
	at := time.Date(2026, 11, 22, 14, 5, 1, 999_999_000, time.UTC)
	early, late := newReceiptID(at), newReceiptID(at.Add(time.Microsecond))
	if early >= late || !receiptID.MatchString(early) || early[:16] != "20261122T140501Z" {
		t.Errorf("%s, then %s", early, late)
	}
}
