//go:build linux

package tritonserver

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A look is what the server sees of one model directory.
type look struct {
	dir      string
	newest   time.Time
	config   config
	versions []int64          // all version directories, by number
	dirs     map[int64]string // their names
	seen     map[string]inode // of everything, to notice an exchange
	err      error            // what a server would say of the directory
}

type inode struct{ dev, ino uint64 }

// subdirs lists the directories of a repository as GetDirectorySubdirs does: everything that is a directory is a model,
// hidden or not, links are followed, and an entry that cannot be looked at is an error for the whole repository.
func subdirs(repo string) ([]string, error) {
	f, err := os.Open(repo)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, n := range names {
		info, err := os.Stat(filepath.Join(repo, n))
		if err != nil {
			return nil, fmt.Errorf("failed to stat file %s: %w", n, err)
		}
		if info.IsDir() {
			dirs = append(dirs, n)
		}
	}
	slices.Sort(dirs)
	return dirs, nil
}

// lookAt looks at a model directory. ctime tells whether the server looks at that too, which it does since 22.12.
func lookAt(dir string, ctime bool) *look {
	l := &look{dir: dir, dirs: map[int64]string{}, seen: map[string]inode{}}
	if l.err = l.walk(dir, ctime); l.err != nil {
		return l
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.pbtxt"))
	if err != nil {
		l.err = fmt.Errorf("failed to open text file for read %s: %w", filepath.Join(dir, "config.pbtxt"), err)
		return l
	}
	l.config = readConfig(string(text))
	if name := filepath.Base(dir); l.config.name != "" && l.config.name != name {
		l.err = fmt.Errorf("unexpected directory name '%s' for model '%s', directory name must equal model name", name, l.config.name)
		return l
	}
	l.err = l.findVersions()
	return l
}

// walk finds the newest time in a tree, as GetModifiedTime does.
func (l *look) walk(path string, ctime bool) error {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return fmt.Errorf("failed to stat file %s: %w", path, err)
	}
	l.seen[path] = inode{uint64(st.Dev), st.Ino} //nolint:unconvert // not 64 bits wide everywhere
	t := time.Unix(st.Mtim.Unix())
	if changed := time.Unix(st.Ctim.Unix()); ctime && changed.After(t) {
		t = changed
	}
	if t.After(l.newest) {
		l.newest = t
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	for _, n := range names {
		if err == nil {
			err = l.walk(filepath.Join(path, n), ctime)
		}
	}
	return err
}

// straddled reports whether something in the tree was exchanged since it was walked.
func (l *look) straddled() bool {
	for path, was := range l.seen {
		var st syscall.Stat_t
		if syscall.Stat(path, &st) != nil || (inode{uint64(st.Dev), st.Ino}) != was { //nolint:unconvert // as above
			return true
		}
	}
	return len(l.seen) == 0
}

// findVersions is VersionsToLoad, before the policy: names are read by std::stoll.
func (l *look) findVersions() error {
	dirs, err := subdirs(l.dir)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		m := stoll.FindStringSubmatch(d)
		if m == nil || len(d) > 1 && d[0] == '0' {
			continue
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return fmt.Errorf("version directory %q is out of range", d)
		}
		l.versions, l.dirs[n] = append(l.versions, n), d
		if strconv.FormatInt(n, 10) != d {
			return fmt.Errorf("directory %q is taken for version %d", d, n)
		}
	}
	slices.Sort(l.versions)
	if len(l.served()) == 0 {
		return fmt.Errorf("at least one version must be available under the version policy of model '%s'", filepath.Base(l.dir))
	}
	return nil
}

var stoll = regexp.MustCompile(`^[ \t\n\v\f\r]*([+-]?[0-9]+)`)

// served are the versions that the policy chooses.
func (l *look) served() []int64 {
	switch c := l.config; {
	case c.all:
		return l.versions
	case len(c.specific) > 0:
		return slices.DeleteFunc(slices.Clone(l.versions), func(v int64) bool { return !slices.Contains(c.specific, v) })
	default:
		return l.versions[max(0, len(l.versions)-c.latest):]
	}
}

// load reads what a backend would.
func (l *look) load(version int64) error {
	if l.config.platform == "ensemble" {
		return nil
	}
	dir := filepath.Join(l.dir, l.dirs[version])
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	read := 0
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		read += len(raw)
	}
	if read == 0 {
		return fmt.Errorf("unable to find a model file in %s", dir)
	}
	return nil
}

// config is what the stand-in knows of a configuration.
type config struct {
	name, platform string
	all            bool
	latest         int
	specific       []int64
}

var (
	nameField     = regexp.MustCompile(`(?m)^name *: *"([^"]*)"`)
	platformField = regexp.MustCompile(`(?m)^platform *: *"([^"]*)"`)
	latestField   = regexp.MustCompile(`latest *:? *\{ *num_versions *: *(\d+)`)
	specificField = regexp.MustCompile(`specific *:? *\{ *versions *: *\[([^\]]*)\]`)
	allField      = regexp.MustCompile(`version_policy *:? *\{ *all *:? *\{`)
)

// readConfig finds the fields that stand at the beginning of a line, as the tests write them.
func readConfig(text string) config {
	c := config{latest: 1, all: allField.MatchString(text)}
	if m := nameField.FindStringSubmatch(text); m != nil {
		c.name = m[1]
	}
	if m := platformField.FindStringSubmatch(text); m != nil {
		c.platform = m[1]
	}
	if m := latestField.FindStringSubmatch(text); m != nil {
		c.latest, _ = strconv.Atoi(m[1])
	}
	if m := specificField.FindStringSubmatch(text); m != nil {
		for _, v := range strings.Split(m[1], ",") {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			c.specific = append(c.specific, n)
		}
	}
	return c
}
