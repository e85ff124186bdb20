package loader

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// former is what a placement replaced, kept for a rollback in old/<model>/<receipt>: this record, and the replaced entry
// itself, if there was one, as "tree".
type former struct {
	Model string          `json:"model"`
	Entry string          `json:"entry"` // empty for the whole model directory
	Had   bool            `json:"had"`   // the entry was there before
	Has   bool            `json:"has"`   // and after
	Files []manifest.File `json:"files"` // of the replaced entry, paths below the model directory

	dir string
}

const formerRecord = "former.json"

func (f former) tree() string { return filepath.Join(f.dir, "tree") }

func (r *repository) formerDir(model, receipt string) string {
	return filepath.Join(r.own, "old", model, receipt)
}

// write writes the record, before the step that it describes is made.
func (f former) write() error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(f.dir, formerRecord), raw, 0o600)
}

// formers lists what is kept of a model, oldest first: receipts sort by time.
func (r *repository) formers(model string) ([]former, error) {
	entries, err := os.ReadDir(filepath.Join(r.own, "old", model))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []former
	for _, e := range entries {
		dir := r.formerDir(model, e.Name())
		raw, err := os.ReadFile(filepath.Join(dir, formerRecord))
		f := former{dir: dir}
		if err != nil || json.Unmarshal(raw, &f) != nil || f.Model != model {
			continue // never completed
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b former) int { return compareNames(a.dir, b.dir) })
	return all, nil
}

func compareNames(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// prune removes what is kept of a model beyond the newest keep.
func (r *repository) prune(model string, keep int) error {
	all, err := r.formers(model)
	if err != nil {
		return err
	}
	for _, f := range all[:max(0, len(all)-keep)] {
		if err := os.RemoveAll(f.dir); err != nil {
			return err
		}
	}
	_ = os.Remove(filepath.Join(r.own, "old", model)) // goes only when it is empty
	return nil
}
