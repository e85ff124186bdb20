//go:build linux

package loader

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

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
	// After is the tree digest of the whole model as it was placed; empty in records of older versions.
	After manifest.Digest `json:"after,omitempty"`

	dir string
}

const formerRecord = "former.json"

// mark is the path in the kept entry whose time old servers look at.
func (f former) mark() string {
	if f.Entry != "" {
		return f.tree()
	}
	entries, _ := os.ReadDir(f.tree())
	var dirs []string
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, e.Name())
		}
	}
	return filepath.Join(f.tree(), timeMark(f.Files, dirs))
}

// contents describes a kept entry, its paths below the model directory, and makes sure that it is what it was; nothing when
// there was no entry.
func (f former) contents(ctx context.Context) (manifest.HostModel, error) {
	if !f.Had {
		return manifest.HostModel{}, nil
	}
	have, err := f.describe(ctx)
	if err != nil {
		return have, modelFailure("verify the former state", err)
	}
	if changed := changedPaths(f.Files, have.Files); len(changed) > 0 {
		return have, manifest.Fail(manifest.KindIntegrity, "roll back model "+f.Model, "the kept file %s is not what it was", changed[0]).
			Advise("push the state that you want")
	}
	return have, nil
}

// describe hashes a kept entry.
func (f former) describe(ctx context.Context) (h manifest.HostModel, err error) {
	info, err := os.Lstat(f.tree())
	if err != nil {
		return h, err
	}
	if !info.IsDir() {
		k, err := digestOf(ctx, f.tree(), info, known{})
		h.Files = []manifest.File{{Path: f.Entry, Descriptor: manifest.Descriptor{Digest: k.Digest, Size: info.Size()}}}
		return h, err
	}
	if _, err := describe(ctx, f.tree(), nil, &h); err != nil {
		return h, err
	}
	for i := range h.Files {
		h.Files[i].Path = path.Join(f.Entry, h.Files[i].Path)
	}
	for i := range h.Dirs {
		h.Dirs[i] = path.Join(f.Entry, h.Dirs[i])
	}
	if f.Entry != "" {
		h.Dirs = append(h.Dirs, f.Entry)
	}
	return h, nil
}

// nothing reports whether there was no model. Such a record takes no room, and is kept whatever else goes.
func (f former) nothing() bool { return !f.Had && f.Entry == "" }

// receipt is the ID of the receipt of the placement that replaced it.
func (f former) receipt() string { return filepath.Base(f.dir) }

func (f former) tree() string { return filepath.Join(f.dir, "tree") }

func (r *repository) formerDir(model, receipt string) string {
	return filepath.Join(r.own, "old", model, receipt)
}

// keep writes the record, before the step that it describes is made and after it is in the journal.
func (r *repository) keep(f former) error {
	for _, dir := range []string{filepath.Dir(f.dir), f.dir} {
		if err := ownFolder(dir); err != nil {
			return manifest.Fail(manifest.KindPermission, "keep the former state", "%w", err).Advise("%s", mendStage(dir))
		}
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
		if err != nil || json.Unmarshal(raw, &f) != nil || f.Model != model || (f.Had && !exists(f.tree())) {
			continue // never completed
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b former) int { return strings.Compare(a.dir, b.dir) })
	return all, nil
}

// scrap removes a former state: at once from what is kept, and then file by file, which the next start ends if this does not.
func (r *repository) scrap(model, receipt string) error {
	doomed := filepath.Join(r.own, "trees", ".old-"+receipt+"-"+model) // no model's name begins with a dot
	if err := os.Rename(r.formerDir(model, receipt), doomed); err != nil {
		return err
	}
	return os.RemoveAll(doomed)
}

// walking is how long a reader that opened a tree right before it was replaced may still walk in it.
const walking = 100 * time.Millisecond

// prune removes what is kept of a model beyond the newest keep. That there was nothing is not forgotten.
func (r *repository) prune(model string, keep int) error {
	all, err := r.formers(model)
	if err != nil {
		return err
	}
	stays := map[string]bool{}
	for n, f := range all {
		stays[f.dir] = f.nothing() || n >= len(all)-keep
	}
	return r.forget(model, stays)
}

// forget removes what is kept of a model but for the folders that stay, and what an earlier prune that was killed has left.
func (r *repository) forget(model string, stays map[string]bool) error {
	dir := filepath.Join(r.own, "old", model)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return gone(err)
	}
	for _, e := range entries {
		if stays[filepath.Join(dir, e.Name())] {
			continue
		}
		if info, err := e.Info(); err == nil { // its time is when the replaced entry came into it
			time.Sleep(min(walking, walking-time.Since(info.ModTime())))
		}
		if err := r.scrap(model, e.Name()); err != nil {
			return err
		}
	}
	_ = os.Remove(dir) // goes only when it is empty
	return nil
}
