package triton

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxConfig is how large a configuration may be, in bytes.
const maxConfig = 1 << 20

// Config is what a model says of itself, with what a server would derive.
type Config struct {
	// Derived tells that there is no configuration.
	Derived  bool   `json:"derived,omitempty"`
	Platform string `json:"platform,omitempty"`
	Backend  string `json:"backend,omitempty"`
	// Versions are the version directories and Served those that the version policy serves, highest first.
	Versions []int64 `json:"versions,omitempty"`
	Served   []int64 `json:"served,omitempty"`
	// Steps are the models that an ensemble runs.
	Steps []Step `json:"steps,omitempty"`
}

// Step is one step of an ensemble.
type Step struct {
	Model string `json:"model"`
	// Version is the one that the step asks for; -1 for the highest that is served.
	Version int64 `json:"version"`
}

// Needs are the names of the models that must be there before this one, each once.
func (c *Config) Needs() []string {
	var names []string
	if c == nil {
		return nil
	}
	for _, s := range c.Steps {
		if !slices.Contains(names, s.Model) {
			names = append(names, s.Model)
		}
	}
	return names
}

// summary is nil when there is nothing to go by.
func (c *checker) summary() *Config {
	if c.config == nil && !c.absent {
		return nil
	}
	s := &Config{Derived: c.absent, Platform: c.backend.platform, Backend: c.backend.name}
	for _, v := range c.versions {
		s.Versions = append(s.Versions, v.number)
	}
	for _, v := range c.served {
		s.Served = append(s.Served, v.number)
	}
	for _, f := range c.steps() {
		if step := (Step{f.str("model_name"), f.num("model_version")}); step.Model != "" {
			s.Steps = append(s.Steps, step)
		}
	}
	return s
}

// readConfig reads the configuration and judges it as a text.
func (c *checker) readConfig() {
	text, ok := c.configText()
	if !ok {
		return
	}
	c.config = c.parse(text)
	c.checkModelName()
	c.checkConfigTwin()
	c.checkOtherConfigs()
}

// configText reads the file. Without one it sets absent, or notes why it cannot be read.
func (c *checker) configText() ([]byte, bool) {
	e := c.tree.get(configName)
	c.file = filepath.Join(c.dir, configName)
	if c.ConfigFile != "" {
		c.checkReplaced(e)
		e, c.file = c.replaced, c.ConfigFile
	}
	if e == nil {
		c.absent = !c.tree.refused[configName]
		return nil, false
	}
	return c.readText(e)
}

// checkReplaced makes sure that another configuration can take the place of the entry e.
func (c *checker) checkReplaced(e *entry) {
	if e != nil && e.dir {
		c.refuse(RuleConfigFile, c.at(configName), "a directory is where the configuration %s would go", c.ConfigFile).advise("remove it")
	}
}

// readText reads a configuration, if it is a file of a reasonable size.
func (c *checker) readText(e *entry) ([]byte, bool) {
	at := place{file: c.file}
	switch {
	case e.dir || !e.mode.IsRegular():
		f := c.refuse(RuleConfigFile, at, "the configuration must be a file")
		f.advise("put a file called %s here", configName)
		if c.ConfigFile != "" {
			f.advise("name a file with --config")
		}
		return nil, false
	case e.size > maxConfig:
		c.refuse(RuleConfigFile, at, "the configuration is %d bytes long; no real one is longer than %d", e.size, maxConfig).
			advise("is this the right file?")
		return nil, false
	}
	text, err := e.read(0, maxConfig)
	if err != nil {
		c.refuse(RuleUnreadable, at, "the configuration cannot be read: %v", err).advise("make it readable, or run as its owner")
		return nil, false
	}
	return text, true
}

// checkModelName compares the name in the configuration with the directory's.
func (c *checker) checkModelName() {
	f := c.config.get("name")
	if name := f.string(); name != "" && name != c.name {
		c.refuse(RuleName, c.in(f), "the configuration calls the model %q, but its directory is called %q; Triton wants them equal", name, c.name).
			advise("rename the directory to %s, or write name: %q", name, c.name)
	}
}

// checkConfigTwin looks for entries that servers take for a second configuration: since 24.09 all whose name config.pbtxt
// begins with. They then never notice that the model has changed.
func (c *checker) checkConfigTwin() {
	if c.Version.Before(v2409) {
		return
	}
	for _, e := range c.tree.below[""] {
		if strings.HasPrefix(configName, e.path) && e.path != configName {
			c.warn(RuleConfigTwice, c.at(e.path), "Triton takes this for a second configuration, and then does not notice when the model changes").
				advise("remove it, or give it another name")
		}
	}
}

// checkOtherConfigs looks at configurations that can be chosen when the server starts, configs/NAME.pbtxt.
func (c *checker) checkOtherConfigs() {
	main := c.file
	for _, e := range c.tree.below["configs"] {
		if e.dir || path.Ext(e.path) != ".pbtxt" {
			continue
		}
		c.file = c.at(e.path).file
		if text, ok := c.readText(e); ok {
			c.parse(text)
		}
	}
	c.file = main
}

// missingConfig says what to do where a configuration is needed and there is none.
func (c *checker) missingConfig(s Severity, why string) {
	f := c.note(s, RuleConfigMissing, place{file: filepath.Join(c.dir, configName)}, "there is no %s, and %s", []any{configName, why})
	f.advise("write a %s with at least the platform or backend, the inputs and the outputs", configName)
	for _, e := range c.tree.below[""] {
		if base := strings.ToLower(e.path); !e.dir && (strings.HasPrefix(base, "config") || strings.HasSuffix(base, ".pbtxt")) {
			f.advise("rename %s to %s", e.path, configName)
			return
		}
	}
	for _, v := range c.versions {
		if p := v.dir.path + "/" + configName; c.tree.file(p) {
			f.advise("move %s up into the model directory", p)
			return
		}
	}
}
