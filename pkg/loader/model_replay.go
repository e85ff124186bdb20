//go:build linux

package loader

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// replay ends what a process that died left in the middle, in the order in which that one would have done it: a step that
// was made is concluded, one of two renames is completed, one that was to be made by a journal that is there is made, any other
// is forgotten. It returns a sentence for each. It runs before anything else, under the lock.
func (r *repository) replay() ([]string, error) {
	steps, said, err := r.recorded()
	if err != nil {
		return said, err
	}
	for _, s := range steps {
		text, err := r.replayOne(s, true)
		if err != nil {
			return said, err
		}
		said = append(said, text)
	}
	return said, r.clearTrees()
}

// recorded reads the steps in the journal. It removes temporary files of steps that were never written, and puts aside what
// is no step, with a sentence for each.
func (r *repository) recorded() (steps []step, said []string, err error) {
	dir := filepath.Join(r.own, "journal")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if filepath.Ext(path) != ".json" {
			if err := os.Remove(path); err != nil {
				return nil, said, err
			}
			continue
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, said, err
		}
		var s step
		if err := json.Unmarshal(raw, &s); err != nil || r.journalPath(s.Model) != path {
			aside := filepath.Join(r.own, e.Name()+".broken")
			if err := os.Rename(path, aside); err != nil {
				return nil, said, err
			}
			said = append(said, "a step that was interrupted cannot be completed, if there was one: the journal is damaged; it is now "+aside)
			continue
		}
		steps = append(steps, s)
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Or(cmp.Compare(a.Order, b.Order), strings.Compare(a.Model, b.Model)) })
	return steps, said, nil
}

// replayOne ends one recorded step. Without forward one that was not made is forgotten in any case.
func (r *repository) replayOne(s step, forward bool) (string, error) {
	made, err := s.made()
	if err != nil {
		return "", err
	}
	if !made && s.Op == opRenames && !exists(s.Live) && exists(s.Kept) {
		from := s.Fresh
		if made = exists(from); !made { // lost with the machine: the former state is better than none
			from = s.Kept
		}
		if err := moveNew(from, s.Live); err != nil {
			return "", err
		}
	}
	why := error(nil)
	if !made && forward && s.Commit != "" && exists(s.Commit) {
		why = r.late(s)
		made = why == nil
	}
	switch {
	case why != nil:
		return fmt.Sprintf("model %s: an interrupted change could not be completed: %v", s.Model, why), r.discard(s)
	case !made:
		return "model " + s.Model + ": an interrupted change was taken back", r.discard(s)
	}
	newer, err := newest(r.live(s.Model, ""))
	if err != nil {
		return "", err
	}
	s.Newer = after(newer)
	if err := r.touch(s.Model, s.Newer); err != nil {
		return "", err
	}
	return "model " + s.Model + ": an interrupted change was completed", errors.Join(r.conclude(s), r.sync())
}

// late makes a step that another process had prepared, if what it prepared is there and the model is as it found it.
func (r *repository) late(s step) error {
	if s.Op != opOut {
		if inode, err := inodeOf(s.Fresh); err != nil || inode != s.Inode {
			return errors.New("what was built for it is lost")
		}
	}
	live, err := r.scan(context.Background(), s.Model)
	if err != nil {
		return err
	}
	if had, was := entryOf(live, s.Entry); had != s.Had || !sameContents(was, s.Was) {
		return errors.New("somebody has changed the model since")
	}
	return s.flip()
}

// entryOf tells whether a live model has an entry, and which files are in it.
func entryOf(live manifest.HostModel, entry string) (had bool, files []manifest.File) {
	p := manifest.ModelPlan{Entry: entry}
	for _, f := range live.Files {
		if p.Below(f.Path) {
			files = append(files, f)
		}
	}
	return hadEntry(p, live), files
}

// sameContents compares files by path and digest. Both lists are sorted by path.
func sameContents(a, b []manifest.File) bool {
	return slices.EqualFunc(a, b, func(a, b manifest.File) bool { return a.Path == b.Path && a.Digest == b.Digest })
}
