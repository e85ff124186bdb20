//go:build linux

package loader

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A step is one entry of a model changing, as the journal tells it. Paths are absolute; the entry's new state waits at
// Fresh, its former one goes to Kept. Whether the step was made is seen at Live: it then has the inode of the new state.
type step struct {
	Model string    `json:"model"`
	Entry string    `json:"entry"`
	Op    operation `json:"op"`
	Live  string    `json:"live"`
	Fresh string    `json:"fresh"`
	Kept  string    `json:"kept"`
	Inode uint64    `json:"inode"` // of the new state; 0 for opOut
	Newer time.Time `json:"newer"` // newer than anything that the live tree had; the new state has it already
	// Spent is a folder that has no use once the step was made; empty for none.
	Spent string `json:"spent,omitempty"`
	// Was are the files of the entry that the step replaces. Had tells that there was one.
	Had bool            `json:"had,omitempty"`
	Was []manifest.File `json:"was,omitempty"`
	// Commit is a file that is there when the step shall be made: the journal of what it is part of, as step number Order.
	// Without it a step that was not made is taken back.
	Commit string `json:"commit,omitempty"`
	Order  int    `json:"order,omitempty"`
}

// operation is how a step is made.
type operation string

const (
	opIn       operation = "in"       // Fresh is renamed to Live, where nothing is
	opOut      operation = "out"      // Live is renamed to Kept
	opExchange operation = "exchange" // Fresh and Live change places, then the former goes to Kept
	opRenames  operation = "renames"  // Live to Kept, then Fresh to Live: there is a moment without the entry
	opReplace  operation = "replace"  // a file: Live is copied to Kept, then Fresh renamed over Live
)

func (r *repository) journalPath(model string) string {
	return filepath.Join(r.own, "journal", model+".json")
}

// record writes the journal; from here on a crash is mended by replay.
func (r *repository) record(s step) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return renameio.WriteFile(r.journalPath(s.Model), raw, 0o600)
}

// flip makes the step, the only moment at which a live tree changes.
func (s step) flip() error {
	switch s.Op {
	case opIn:
		return moveNew(s.Fresh, s.Live)
	case opOut:
		return moveNew(s.Live, s.Kept)
	case opExchange:
		return swap(s.Fresh, s.Live)
	case opReplace:
		if s.Spent == "" { // what a rollback replaces is not kept
			err := gone(os.Remove(s.Kept)) // begun by a process that died
			if err == nil {
				err = clone(context.Background(), s.Live, s.Kept)
			}
			if err != nil {
				return err
			}
		}
		return os.Rename(s.Fresh, s.Live)
	}
	if err := moveNew(s.Live, s.Kept); err != nil {
		return err
	}
	return moveNew(s.Fresh, s.Live)
}

// made reports whether the step was made. What a step takes away for good is gone with its folder as soon as the step is being
// concluded.
func (s step) made() (bool, error) {
	info, err := os.Lstat(s.Live)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s.Op == opOut && (exists(s.Kept) || !exists(filepath.Dir(s.Kept))), nil
	case err != nil:
		return false, err
	}
	return s.Inode != 0 && info.Sys().(*syscall.Stat_t).Ino == s.Inode, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// conclude brings a step that was made to its end: the former entry goes where it is kept, the journal is cleared. It may
// be called again after a crash.
func (r *repository) conclude(s step) error {
	if s.Op == opExchange && exists(s.Fresh) {
		if err := moveNew(s.Fresh, s.Kept); err != nil {
			return err
		}
	}
	if s.Op == opOut {
		if err := r.touch(s.Model, s.Newer); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(r.tree(s.Model)); err != nil {
		return err
	}
	if s.Spent != "" {
		if err := os.RemoveAll(s.Spent); err != nil {
			return err
		}
	}
	return os.Remove(r.journalPath(s.Model))
}

// touch gives what old servers look at a new time, in the live tree: where an entry was taken away, nothing new is there to
// bear it.
func (r *repository) touch(model string, newer time.Time) error {
	for _, mark := range []string{"config.pbtxt", ""} {
		err := os.Chtimes(r.live(model, mark), newer, newer)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// discard forgets a step that was not made.
func (r *repository) discard(s step) error {
	if err := os.RemoveAll(r.tree(s.Model)); err != nil {
		return err
	}
	if s.Spent == "" { // a placement: its record of what it would have replaced
		if err := os.RemoveAll(filepath.Dir(s.Kept)); err != nil {
			return err
		}
	}
	return os.Remove(r.journalPath(s.Model))
}

// unsettled reports whether there may be something to replay.
func (r *repository) unsettled() bool {
	for _, dir := range []string{"journal", "trees"} {
		entries, err := os.ReadDir(filepath.Join(r.own, dir))
		if err != nil || len(entries) > 0 {
			return true
		}
	}
	return false
}

// clearTrees removes what was being built and never came to a journal.
func (r *repository) clearTrees() error {
	trees := filepath.Join(r.own, "trees")
	entries, err := os.ReadDir(trees)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(trees, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// after is a time that is later than t for servers that compare whole seconds, and not before now.
func after(t time.Time) time.Time {
	now := time.Now()
	if later := t.Add(time.Second); later.After(now) {
		return later
	}
	return now
}

// newest is the newest time in the tree at root; zero when nothing is there.
func newest(root string) (time.Time, error) {
	var newest time.Time
	err := filepath.WalkDir(root, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return newest, err
}

// inodeOf is the inode of an entry.
func inodeOf(path string) (uint64, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Ino, nil
}

// stepOf chooses the operation for an entry that the live tree has or has not, and shall have or not. File tells that it is
// a file before and after.
func (r *repository) stepOf(had, has, file bool) operation {
	switch {
	case !had:
		return opIn
	case !has:
		return opOut
	case r.exchange:
		return opExchange
	case file:
		return opReplace
	}
	return opRenames
}
