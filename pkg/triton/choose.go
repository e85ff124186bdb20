package triton

import (
	"slices"
	"strings"
)

// checkBackend finds out what the model is to be run with, and whether the files for it are there.
func (c *checker) checkBackend() {
	b, ok := c.chooseBackend()
	if !ok {
		return
	}
	c.backend = b
	c.checkGone(b)
	for _, v := range c.served {
		c.checkVersion(v)
	}
}

// chooseBackend finds the backend as a server does: by the configuration, or else by the files.
func (c *checker) chooseBackend() (backend, bool) {
	if c.absent {
		return c.withoutConfig()
	}
	if c.config == nil {
		return backend{}, false
	}
	switch platform, name := c.config.str("platform"), c.config.str("backend"); {
	case platform == "" && name == "":
		return c.byContents()
	case platform == "":
		return c.byBackendName(name)
	default:
		return c.byPlatform(platform, name)
	}
}

// withoutConfig is for a model that has no configuration.
func (c *checker) withoutConfig() (backend, bool) {
	b, ok := c.derive()
	c.backend = b
	switch {
	case !ok:
		c.missingConfig(Refuse, "no file tells which backend is meant")
	case b.derives == derivesNone:
		c.missingConfig(Refuse, "inputs and outputs cannot be derived from "+b.file)
	case c.Version.strict():
		c.missingConfig(c.severityOfStrict(), "Triton "+c.Version.String()+" does without one only when it is started with --strict-model-config=false")
	case b.name == backendPython && !c.completesItself():
		c.missingConfig(Warn, "model.py has no auto_complete_config that would say what it takes and gives")
	}
	return b, ok
}

// severityOfStrict is how bad it is when a server that is strict as it comes must derive something: the first servers were
// started by Clara, without options.
func (c *checker) severityOfStrict() Severity {
	if c.Version.V1() {
		return Refuse
	}
	return Warn
}

// completesItself reports whether the model.py of the highest version completes the configuration.
func (c *checker) completesItself() bool {
	if len(c.served) == 0 {
		return true
	}
	e := c.tree.get(c.served[0].dir.path + "/" + c.modelFile())
	if e == nil || e.dir {
		return true // what is wrong is said elsewhere
	}
	text, err := e.read(0, maxConfig)
	return err != nil || strings.Contains(string(text), "auto_complete_config")
}

// byContents is for a configuration that names neither platform nor backend.
func (c *checker) byContents() (backend, bool) {
	if file := c.config.str("default_model_filename"); file != "" {
		if b, ok := byFile(file); ok {
			return b, true
		}
		c.noPlatform("the configuration names neither platform nor backend, and %q is no file name that tells", file)
		return backend{}, false
	}
	b, ok := c.derive()
	switch {
	case ok && c.Version.strict():
		c.note(c.severityOfStrict(), RulePlatformMissing, c.in(nil),
			"the configuration names neither platform nor backend, which Triton %s wants unless it is started with --strict-model-config=false", []any{c.Version}).
			advise("write platform: %q", b.platform)
	case !ok && !c.hiddenByFirst():
		c.noPlatform("the configuration names neither platform nor backend, and no file tells which is meant")
	}
	return b, ok
}

func (c *checker) noPlatform(format string, args ...any) {
	c.refuse(RulePlatformMissing, c.in(nil), format, args...).advise(`write the platform, as in platform: "onnxruntime_onnx", or the backend, as in backend: "python"`)
}

// hiddenByFirst notes a directory that comes before the versions in byte order: servers look for model files only there.
func (c *checker) hiddenByFirst() bool {
	dirs := c.tree.dirs("")
	if len(dirs) == 0 || len(c.served) == 0 || dirs[0] == c.served[0].dir {
		return false
	}
	b, ok := c.deriveFrom(c.served[0].dir.path)
	if !ok {
		return false
	}
	f := c.refuse(RuleFirst, c.at(dirs[0].path), "Triton looks for the model file only in this directory, the first by name, and so does not find %s/%s", c.served[0].dir.path, b.file)
	f.advise("remove it, or write backend: %q into the configuration", b.name)
	return true
}

// byBackendName is for a configuration that names a backend and no platform.
func (c *checker) byBackendName(name string) (backend, bool) {
	if name == backendTensorFlow {
		return c.tensorFlow()
	}
	b, known := byName(name)
	if known || c.bringsBackend(name) {
		return b, true
	}
	at := c.in(c.config.get("backend"))
	if p, ok := byPlatform(name); ok {
		c.refuse(RuleBackendUnknown, at, "%q is the name of a platform, not of a backend", name).advise("write platform: %q in place of it", p.platform)
		return p, true
	}
	f := c.warn(RuleBackendUnknown, at, "backend %q does not come with Triton: the server needs a libtriton_%s.so for it", name, name)
	f.advise("install it on the server before the model")
	if best := nearest(name, backendNames()); best != "" {
		f.advise("did you mean %s?", best)
	}
	return b, true
}

// bringsBackend reports whether the model brings the library of backend name along, or names another one.
func (c *checker) bringsBackend(name string) bool {
	lib := "libtriton_" + name + ".so"
	if c.config.str("runtime") != "" || c.tree.file(lib) {
		return true
	}
	return slices.ContainsFunc(c.versions, func(v version) bool { return c.tree.file(v.dir.path + "/" + lib) })
}

// tensorFlow finds out which of its two platforms is meant.
func (c *checker) tensorFlow() (backend, bool) {
	file := c.config.str("default_model_filename")
	if b, ok := byFile(file); ok && b.name == backendTensorFlow {
		return b, true
	}
	if dirs := c.tree.dirs(""); file == "" && len(dirs) > 0 {
		if b, ok := c.deriveFrom(dirs[0].path); ok && b.name == backendTensorFlow {
			return b, true
		}
	}
	c.refuse(RulePlatformMissing, c.in(c.config.get("backend")), "the backend tensorflow has two platforms, and no file tells which is meant").
		advise("write platform: %q or %q beside it", platformGraphDef, platformSavedModel)
	return backend{}, false
}

// byPlatform is for a configuration that names a platform, and a backend or not.
func (c *checker) byPlatform(platform, name string) (backend, bool) {
	b, ok := byPlatform(platform)
	named, _ := byName(name)
	at := c.in(c.config.get("platform"))
	switch {
	case ok && (name == "" || b.name == name || platform == platformEnsemble):
		return b, true
	case name != "" && named.platform == "": // Triton leaves the platform of other backends to them
		return c.byBackendName(name)
	case name != "":
		c.refuse(RulePlatformBackend, at, "platform %q and backend %q do not go together", platform, name).advise("leave one of them out")
		return backend{}, false
	}
	f := c.refuse(RulePlatformUnknown, at, "Triton knows no platform %q", platform)
	f.advise("write one of %s; other backends are named by backend: instead", strings.Join(platformNames(), ", "))
	if best := nearest(platform, platformNames()); best != "" {
		f.advise("did you mean %s?", best)
	}
	if known, ok := byName(platform); ok {
		f.advise("this is the name of a backend: write backend: %q", platform)
		return known, true
	}
	return backend{}, false
}

// checkGone notes a backend that the server does not have any more.
func (c *checker) checkGone(b backend) {
	at := c.in(c.config.get("platform"))
	switch {
	case b.last.IsZero():
	case b.last == v2010 && b.last.Before(c.Version):
		c.refuse(RuleGone, at, "Triton %s has no %s any more: %s was the last release with it", c.Version, b.platform, b.last).
			advise("convert the model to ONNX or TorchScript, or use an older server")
	case b.last == v2010 && c.Version.IsZero():
		c.warn(RuleGone, at, "only servers up to %s have %s", b.last, b.platform).advise("say which server it is for: --triton-version 19.08")
	case b.last.Before(c.Version):
		c.warn(RuleGone, at, "releases since 25.03 come without TensorFlow: Triton %s serves this model only when TensorFlow was added to it", c.Version).
			advise("convert the model to ONNX, or use a server up to %s", b.last)
	}
}
