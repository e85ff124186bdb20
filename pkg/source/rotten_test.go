package source

import (
	"os"
	"sync/atomic"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A cached layer that has rotted is an error once, and saved again by the next reader.
func TestRottenCache(t *testing.T) {
	m := makeImage(t, 40, 2, "amd64", unchanged)
	dir := t.TempDir()
	var saves atomic.Int32
	o := hasSaver(t, m, newCache(t, dir), gives(m.saved().tar(t), &saves))
	checkSaved(t, o, m)
	o.close()
	d := m.diffIDs()[1]
	if err := os.WriteFile(o.cache.Path(d), make([]byte, len(m.plain[1])), 0o600); err != nil {
		t.Fatal(err)
	}
	o = hasSaver(t, m, newCache(t, dir), o.save)
	if _, err := readFrom(o, d, 0); manifest.KindOf(err) != manifest.KindIntegrity {
		t.Errorf("rotten: %v", err)
	}
	checkSaved(t, o, m)
	if saves.Load() != 2 {
		t.Errorf("%d saves, want one for each time the layer was not there", saves.Load())
	}
}
