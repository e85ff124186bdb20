package triton

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Options say for what a model is checked; the zero value asks for the rules of the current server.
type Options struct {
	// Version is the server that shall serve the model; the zero value is the current one.
	Version ServerVersion
	// ConfigFile is read instead of the directory's config.pbtxt; empty reads that.
	ConfigFile string
	// Name is the name that the model shall have; empty takes the directory's.
	Name string
	// Present tells whether a model is in the repository of the host already. Nil: nobody knows, so steps of ensembles that
	// are not checked together with them give warnings.
	Present func(model string) bool
}

// Check reads the model directory dir as a server would. What is wrong with the model is in the report; the error is for a
// directory that is not there (manifest.KindNotFound) or cannot be read (manifest.KindPermission), and for a ctx that ended.
func Check(ctx context.Context, dir string, o Options) (Report, error) {
	reports, err := CheckAll(ctx, []string{dir}, o)
	if err != nil {
		return Report{}, err
	}
	return reports[0], nil
}

// checker checks one model.
type checker struct {
	Options
	dir   string // as it was given
	name  string // of the model
	found []*Finding

	tree     *tree
	replaced *entry // what is read in place of config.pbtxt; nil for none
	config   *field // the configuration; nil when there is none to go by
	file     string // where findings about the configuration are placed
	absent   bool   // there is no configuration: everything must be derived
	backend  backend
	versions []version // sorted, highest first
	served   []version // those that the policy serves, highest first
	largest  int64     // max_batch_size; 0 for a model that does not batch
}

// check checks dir by itself; what depends on other models is left to CheckAll.
func check(ctx context.Context, dir string, o Options) (*checker, error) {
	c := &checker{Options: o, dir: dir, name: o.Name}
	if c.name == "" {
		c.name = nameOf(dir)
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, unreadable(dir, err)
	case !info.IsDir():
		c.refuse(RuleNotDirectory, c.at(""), "this is a file, and a model is a directory").
			advise("name the model directory: the one that holds config.pbtxt and the version directories")
		return c, nil
	}
	if c.ConfigFile != "" {
		info, err := os.Stat(c.ConfigFile)
		if err != nil {
			return nil, unreadable(c.ConfigFile, err)
		}
		c.replaced = &entry{path: configName, real: c.ConfigFile, dir: info.IsDir(), mode: info.Mode(), size: info.Size()}
	}
	if c.tree, err = c.readTree(ctx); err != nil || c.tree.cut || !c.isModel() {
		return c, err
	}
	c.checkName()
	c.readConfig()
	c.findVersions()
	c.checkBackend()
	if c.config != nil {
		c.checkConfig()
	}
	c.checkFiles()
	return c, ctx.Err()
}

// checkConfig runs everything that needs a configuration that can be read.
func (c *checker) checkConfig() {
	c.largest = c.config.num("max_batch_size")
	c.checkTensors()
	c.checkBatching()
	c.checkBatchTensors()
	c.checkSequence()
	c.checkInstances()
	c.checkCache()
	c.checkMetrics()
	c.checkEnsemble()
	c.checkNamedFiles()
}

// nameOf is the name that dir has in a repository: its own, also when it is a symbolic link or written as ".".
func nameOf(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		abs = dir
	}
	return filepath.Base(abs)
}

// checkName looks at the name that the directory shall have in the repository.
func (c *checker) checkName() {
	var f *manifest.Failure
	if errors.As(manifest.CheckModelName(c.name), &f) {
		c.refuse(RuleModelName, c.at(""), "%v", f.Err).advise("%s", f.Hint)
	} else if strings.Contains(c.name, "..") {
		c.refuse(RuleModelName, c.at(""), "%q cannot be the name of a model: Triton refuses names with two dots in a row", c.name).advise("rename the directory")
	}
}

// unreadable is the error for a directory or file that the caller named and that cannot be read.
func unreadable(path string, err error) error {
	kind, hint := manifest.KindInternal, "look at the file system"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind, hint = manifest.KindNotFound, "is the path right?"
	case errors.Is(err, fs.ErrPermission):
		kind, hint = manifest.KindPermission, "make it readable, or run as its owner"
	}
	return manifest.Fail(kind, "check model", "%s: %w", path, causeOf(err)).Advise("%s", hint)
}

// place is where a finding is.
type place struct {
	file      string
	line, col int
}

// at is the entry path below the model directory, "" for the directory itself.
func (c *checker) at(path string) place {
	return place{file: filepath.Join(c.dir, filepath.FromSlash(path))}
}

// in is a field of the configuration; for nil the configuration as a whole.
func (c *checker) in(f *field) place {
	if f == nil {
		return place{file: c.file}
	}
	return place{file: c.file, line: f.line, col: f.col}
}

// refuse notes a finding that refuses the model.
func (c *checker) refuse(r Rule, at place, format string, args ...any) *Finding {
	return c.note(Refuse, r, at, format, args)
}

// warn notes a finding that only warns.
func (c *checker) warn(r Rule, at place, format string, args ...any) *Finding {
	return c.note(Warn, r, at, format, args)
}

// maxFindings is how many findings are kept: somebody who sees so many has to begin anew anyway. Half of them may be about
// entries, so that there is room for what the directory is as a whole.
const maxFindings = 200

func (c *checker) note(s Severity, r Rule, at place, format string, args []any) *Finding {
	f := &Finding{Severity: s, Rule: r, File: at.file, Line: at.line, Col: at.col, Text: clipped(fmt.Sprintf(format, args...), 400)}
	first := s == Refuse && !slices.ContainsFunc(c.found, func(f *Finding) bool { return f.Severity == Refuse })
	limit := maxFindings
	if c.tree == nil { // which is being read
		limit /= 2
	}
	if len(c.found) < limit || first {
		c.found = append(c.found, f)
	}
	return f
}

// full reports whether enough was found.
func (c *checker) full() bool { return len(c.found) >= maxFindings }

// advise says what to do.
func (f *Finding) advise(format string, args ...any) {
	f.Advice = clipped(fmt.Sprintf(format, args...), 400)
}

// report is what was found.
func (c *checker) report() Report {
	r := Report{Model: c.name, Dir: c.dir, Config: c.summary()}
	for _, f := range c.found {
		r.Findings = append(r.Findings, *f)
	}
	r.sort()
	return r
}
