package triton

import (
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
)

// pointerLimit is how large the pointers of Git LFS are at most, in bytes, as its specification says.
const pointerLimit = 1024

// checkFiles looks at every file, whatever it is for.
func (c *checker) checkFiles() {
	var private []*entry
	var junk []string
	for _, e := range c.tree.sorted() {
		switch {
		case within(e.path, junk):
		case c.isWaste(e):
			junk = append(junk, e.path)
			c.warn(RuleJunk, c.at(e.path), "this does not belong to a model: %s", junkReason(e)).advise("remove it")
		case !e.dir && e.size > 0 && e.size < pointerLimit:
			c.checkPointer(e)
		}
		if isPrivate(e) && c.readable(e) {
			private = append(private, e)
		}
	}
	c.checkPrivate(private)
}

// checkPointer looks for what git leaves in place of a large file that was not fetched.
func (c *checker) checkPointer(e *entry) {
	if head, err := e.read(0, 64); err == nil && isPointer(head) {
		c.refuse(RuleFilePointer, c.at(e.path), "this is not the file but a pointer to it, left by Git LFS").advise("run: git lfs pull")
	}
}

// readable reports whether this user may read e, and notes once that it may not.
func (c *checker) readable(e *entry) bool {
	at := c.at(e.path)
	noted := slices.ContainsFunc(c.found, func(f *Finding) bool { return f.Rule == RuleUnreadable && f.File == at.file }) ||
		e.path == configName && c.config == nil
	f, err := os.Open(e.real)
	if err == nil {
		f.Close()
	} else if !noted {
		c.refuse(RuleUnreadable, at, "it cannot be read: %v", causeOf(err)).advise("make it readable, or run as its owner")
	}
	return err == nil
}

// checkPrivate notes what others than its owner cannot read. Triton often runs as another user.
func (c *checker) checkPrivate(private []*entry) {
	if len(private) == 0 {
		return
	}
	f := c.warn(RulePrivate, c.at(private[0].path), "only its owner may read this, but a server that runs as another user must; clara-push places it readable for everybody")
	if len(private) > 1 {
		f.Text = strings.Replace(f.Text, "this,", "this and "+others(len(private)-1)+",", 1)
	}
	f.advise("see that nothing in it is secret, and run: chmod -R a+rX %s", c.dir)
}

func others(n int) string {
	if n == 1 {
		return "one more"
	}
	return "others"
}

func isPrivate(e *entry) bool {
	if runtime.GOOS == "windows" {
		return false
	}
	need := fs.FileMode(0o004)
	if e.dir {
		need = 0o005
	}
	return e.mode.Perm()&need != need
}

// isWaste reports whether e should not be in the model. What Python leaves beside a model.py may stay.
func (c *checker) isWaste(e *entry) bool {
	if isPythonCache(e) {
		return c.backend.name != backendPython
	}
	return isJunk(e)
}

func isPythonCache(e *entry) bool {
	return e.dir && e.name() == "__pycache__" || !e.dir && path.Ext(e.path) == ".pyc"
}

// isJunk reports whether e is what editors, systems and version control leave behind.
func isJunk(e *entry) bool { return junkReason(e) != "" }

var junkNames = []struct {
	names string // separated by spaces
	dir   bool
	is    string
}{
	{".git .svn .hg", true, "it is version control's own"},
	{".ipynb_checkpoints", true, "Jupyter left it behind"},
	{"__pycache__ .pytest_cache .mypy_cache", true, "Python left it behind"},
	{".idea .vscode", true, "an editor left it behind"},
	{"__MACOSX .Spotlight-V100 .Trashes .fseventsd", true, "macOS left it behind"},
	{".DS_Store", false, "macOS left it behind"},
	{"Thumbs.db desktop.ini", false, "Windows left it behind"},
	{".git", false, "it is version control's own"},
}

// junkReason says why e is junk, "" when it is not.
func junkReason(e *entry) string {
	name := e.name()
	for _, j := range junkNames {
		if j.dir == e.dir && slices.Contains(strings.Fields(j.names), name) {
			return j.is
		}
	}
	switch {
	case e.dir:
		return ""
	case strings.HasPrefix(name, "._"):
		return "macOS left it behind"
	case slices.Contains([]string{".swp", ".swo", ".bak", ".orig"}, path.Ext(name)), strings.HasSuffix(name, "~"):
		return "an editor left it behind"
	case slices.Contains([]string{".part", ".partial", ".crdownload", ".filepart"}, path.Ext(name)):
		return "it is a download that is not finished"
	case path.Ext(name) == ".pyc":
		return "Python left it behind"
	}
	return ""
}

// within reports whether p lies below one of dirs.
func within(p string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(p, d+"/") })
}
