//go:build linux

package loader

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A journal lists everything that one apply, rollback or removal changes: images in the order of the plan, then models,
// components before ensembles. Each name and each model flips on its own, in that order. The journal is at
// <state>/journal/<receipt>.json from before the first flip until the receipt is written; that it is there means that the
// rest shall be done, by whoever opens the host next.
type journal struct {
	// Receipt is what the receipt will say, but for what follows.
	Receipt manifest.Receipt `json:"receipt"`
	Images  []imageFlip      `json:"images,omitempty"`
	Models  []modelFlip      `json:"models,omitempty"`
}

// maxJournal caps a journal that is read, in bytes.
const maxJournal = 64 << 20

// changes reports whether j changes anything.
func (j *journal) changes() bool {
	for _, f := range j.Images {
		if f.Done.Changed() {
			return true
		}
	}
	for _, f := range j.Models {
		if f.Step != nil {
			return true
		}
	}
	return false
}

func (h *Host) journalPath(receipt string) string {
	return filepath.Join(h.dir, "journal", receipt+".json")
}

// write makes j the truth: from here on a crash is mended by going forward.
func (h *Host) write(j *journal) error {
	raw, err := json.Marshal(j)
	if len(raw) > maxJournal {
		return manifest.Fail(manifest.KindModel, "write journal", "the models have too many files to be changed in one go").Advise("push them in several goes")
	}
	if err == nil {
		err = writeWhole(h.journalPath(j.Receipt.ID), raw)
	}
	if err != nil {
		return stageFailure("write journal", err)
	}
	return nil
}

// journals lists the receipts whose journals are there, oldest first.
func (h *Host) journals() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(h.dir, "journal"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, stageFailure("read journal", err)
	}
	var ids []string
	for _, e := range entries {
		if id, isJSON := strings.CutSuffix(e.Name(), ".json"); isJSON && receiptID.MatchString(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// errNoJournal is in the error of what was read and is no journal: journals are written whole, so it never counted.
var errNoJournal = errors.New("it is no journal")

// readJournal fails with errNoJournal for what can be read and is none. Any other error may pass, so the journal must stay.
func (h *Host) readJournal(receipt string) (*journal, error) {
	f, err := os.Open(h.journalPath(receipt))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxJournal))
	if err != nil {
		return nil, err
	}
	j := &journal{}
	if err := json.Unmarshal(raw, j); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoJournal, err)
	}
	if j.Receipt.ID != receipt {
		return nil, fmt.Errorf("%w of this receipt", errNoJournal)
	}
	return j, nil
}

// forget ends a journal.
func (h *Host) forget(receipt string) error { return gone(os.Remove(h.journalPath(receipt))) }
