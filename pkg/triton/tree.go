package triton

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// maxEntries is how many files and directories a model may have, to Triton as many as anybody likes.
const maxEntries = manifest.MaxModelFiles

// errTooMany ends the reading of a tree.
var errTooMany = errors.New("too many entries")

// entry is a file or directory of a model, what symbolic links lead to.
type entry struct {
	path string // below the model directory, with slashes
	real string // where it is, without symbolic links
	dir  bool
	size int64 // of a file, in bytes
	mode fs.FileMode
}

// tree is all that lies in a model directory. Symbolic links are followed as long as they stay inside.
type tree struct {
	root    string // without symbolic links
	entries map[string]*entry
	below   map[string][]*entry // what a directory holds, sorted by bytes as Triton does
	refused map[string]bool     // entries that are there but cannot be part of a model, with a finding of their own
	cut     bool                // there is more: what is not in entries may be there all the same
}

// readTree reads the directory and notes what cannot be part of a model.
func (c *checker) readTree(ctx context.Context) (*tree, error) {
	root, err := filepath.EvalSymlinks(c.dir)
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		return nil, unreadable(c.dir, err)
	}
	t := &tree{root: root, entries: map[string]*entry{}, below: map[string][]*entry{}, refused: map[string]bool{}}
	err = c.readDir(ctx, t, "", []string{root})
	if errors.Is(err, errTooMany) {
		c.refuse(RuleTooMany, c.at(""), "the directory holds more than %d files and directories", maxEntries).
			advise("name the model directory itself, or remove what the model does not need")
		t.cut = true
		return t, nil
	}
	return t, err
}

// readDir reads the directory at below the root, which lies in those of above; the last of them is its own real path.
func (c *checker) readDir(ctx context.Context, t *tree, at string, above []string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	found, err := os.ReadDir(above[len(above)-1])
	if err != nil && at != "" {
		c.refuse(RuleUnreadable, c.at(at), "the directory cannot be read: %v", causeOf(err)).advise("make it readable, or run as its owner")
		t.refused[at] = true
		return nil
	}
	if err != nil {
		return unreadable(c.dir, err)
	}
	slices.SortFunc(found, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, d := range found {
		e := c.readEntry(t, path.Join(at, d.Name()), above)
		if e == nil {
			t.refused[path.Join(at, d.Name())] = true
			continue
		}
		t.entries[e.path] = e
		t.below[at] = append(t.below[at], e)
		if len(t.entries) > maxEntries {
			return errTooMany
		}
		if e.dir {
			if err := c.readDir(ctx, t, e.path, append(slices.Clip(above), e.real)); err != nil {
				return err
			}
		}
	}
	return nil
}

// readEntry looks at one entry. It returns nil for one that cannot be part of a model, and notes why.
func (c *checker) readEntry(t *tree, at string, above []string) *entry {
	e := &entry{path: at, real: filepath.Join(above[len(above)-1], path.Base(at))}
	if err := manifest.CheckFilePath(at); err != nil {
		c.refuse(RuleEntryName, c.at(at), "a model cannot hold a file of this name: it has control characters or is not UTF-8").advise("rename it")
		return nil
	}
	info, err := os.Lstat(e.real)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if e.real = c.follow(t, e, above); e.real == "" {
			return nil
		}
		info, err = os.Stat(e.real)
	}
	if err != nil {
		c.refuse(RuleUnreadable, c.at(at), "it cannot be looked at: %v", causeOf(err)).advise("make it readable, or remove it")
		return nil
	}
	e.dir, e.size, e.mode = info.IsDir(), info.Size(), info.Mode()
	if !e.dir && !e.mode.IsRegular() {
		c.refuse(RuleSpecialFile, c.at(at), "this is %s, not a file", kindOf(e.mode)).advise("remove it from the model")
		return nil
	}
	return e
}

// follow finds out where a symbolic link leads; it returns "" when that is no place for a model's file, and notes why.
func (c *checker) follow(t *tree, e *entry, above []string) string {
	target, _ := os.Readlink(e.real)
	real, err := filepath.EvalSymlinks(e.real)
	switch {
	case errors.Is(err, fs.ErrPermission):
		c.refuse(RuleUnreadable, c.at(e.path), "the symbolic link leads to %q, where this user may not look", target).
			advise("put the file itself in its place, or run as its owner")
	case err != nil && strings.Contains(err.Error(), "too many links"):
		c.refuse(RuleLinkLoop, c.at(e.path), "the symbolic link leads in a circle").advise("put the file itself in its place, or remove the link")
	case err != nil:
		c.refuse(RuleLinkBroken, c.at(e.path), "the symbolic link leads to %q, which is not there", target).
			advise("put the file itself in its place, or remove the link")
	case !inside(real, t.root):
		c.refuse(RuleLinkOutside, c.at(e.path), "the symbolic link leads to %q, out of the model directory", target).
			advise("put the file itself in its place")
	case slices.Contains(above, real):
		c.refuse(RuleLinkLoop, c.at(e.path), "the symbolic link leads to a directory that it lies in").advise("remove the link")
	default:
		return real
	}
	return ""
}

// inside reports whether p is root or lies below it.
func inside(p, root string) bool {
	rel, err := filepath.Rel(root, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "something special"
}

// causeOf is why a file could not be read, without its path, which stands beside it.
func causeOf(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// get returns the entry at path, nil when there is none.
func (t *tree) get(path string) *entry { return t.entries[path] }

// dirs are the directories that lie in the directory at path, sorted by bytes.
func (t *tree) dirs(path string) []*entry {
	var d []*entry
	for _, e := range t.below[path] {
		if e.dir {
			d = append(d, e)
		}
	}
	return d
}

// name is the last element of the path.
func (e *entry) name() string { return path.Base(e.path) }

// file reports whether path is a file.
func (t *tree) file(path string) bool { return t.entries[path] != nil && !t.entries[path].dir }

// read reads up to limit bytes from offset on.
func (e *entry) read(offset, limit int64) ([]byte, error) {
	f, err := os.Open(e.real)
	if err != nil {
		return nil, causeOf(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, offset, limit))
	if err != nil {
		return nil, fmt.Errorf("read: %w", causeOf(err))
	}
	return b, nil
}

// sorted are all entries, by path.
func (t *tree) sorted() []*entry {
	all := make([]*entry, 0, len(t.entries))
	for _, e := range t.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return strings.Compare(a.path, b.path) })
	return all
}
