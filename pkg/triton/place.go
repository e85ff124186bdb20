package triton

import (
	"path/filepath"
	"strings"
)

const configName = "config.pbtxt"

// isModel tells a model directory from a repository, which holds several, and from a version directory, which lies in one.
// It notes what else it is.
func (c *checker) isModel() bool {
	if c.tree.get(configName) != nil || c.tree.refused[configName] || c.hasVersion("") {
		return true
	}
	if models := c.models(); len(models) > 0 {
		c.found = nil // what lies in the models is for those who name them
		c.isRepository(models)
		return false
	}
	if _, kind := readVersion(filepath.Base(c.absolute())); kind == versionGood && c.holdsModelFile() {
		c.refuse(RuleVersionDir, c.at(""), "this is a version directory: it holds the files of one version, and no %s", configName).
			advise("name the model directory around it: %s", filepath.Dir(filepath.Clean(c.dir)))
		return false
	}
	return true
}

func (c *checker) isRepository(models []string) {
	f := c.refuse(RuleRepository, c.at(""), "this is a folder of models, not a model: %s a model directory below it", isOrAre(models))
	shown := models
	if len(shown) > 3 {
		shown = shown[:3]
	}
	var paths []string
	for _, m := range shown {
		paths = append(paths, filepath.Join(c.dir, m))
	}
	f.advise("name the models one by one: %s", strings.Join(paths, " "))
	if len(models) == 1 {
		f.advise("name the model directory: %s", paths[0])
	}
}

func isOrAre(models []string) string {
	switch n := len(models); {
	case n == 1:
		return models[0] + " is"
	case n <= 3:
		return strings.Join(models, ", ") + " are each"
	default:
		return strings.Join(models[:3], ", ") + " and others are each"
	}
}

// models are the directories that look like models: with a configuration, or with a version of their own.
func (c *checker) models() []string {
	var found []string
	for _, d := range c.tree.dirs("") {
		if c.tree.get(d.path+"/"+configName) != nil || c.hasVersion(d.path) {
			found = append(found, d.path)
		}
	}
	return found
}

// hasVersion reports whether a version directory lies in the directory at path.
func (c *checker) hasVersion(path string) bool {
	for _, d := range c.tree.dirs(path) {
		if _, kind := readVersion(d.name()); kind == versionGood {
			return true
		}
	}
	return false
}

// holdsModelFile reports whether a file that some backend asks for lies right in the directory.
func (c *checker) holdsModelFile() bool {
	for _, b := range backends {
		if b.file != "" && c.tree.get(b.file) != nil {
			return true
		}
	}
	return false
}

// absolute is the directory's own path; "." would not tell its name.
func (c *checker) absolute() string {
	abs, err := filepath.Abs(c.dir)
	if err != nil {
		return c.dir
	}
	return abs
}
