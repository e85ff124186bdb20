package triton

import (
	"path"
	"strings"
)

// modelDirVariable stands for the model directory in the path of an execution environment.
const modelDirVariable = "$$TRITON_MODEL_DIRECTORY"

// namedPaths are the paths below the model directory that the configuration names.
func (c *checker) namedPaths() []string {
	var paths []string
	for _, f := range c.config.all("output") {
		paths = append(paths, path.Clean(f.str("label_filename")))
	}
	if env := c.parameter("EXECUTION_ENV_PATH").string(); strings.HasPrefix(env, modelDirVariable+"/") {
		paths = append(paths, path.Clean(strings.TrimPrefix(env, modelDirVariable+"/")))
	}
	for _, f := range c.config.get("model_operations").all("op_library_filename") {
		paths = append(paths, path.Clean(f.string()))
	}
	return paths
}

// checkNamedFiles looks for the files that the configuration names besides the model file.
func (c *checker) checkNamedFiles() {
	for _, output := range c.config.all("output") {
		c.checkLabels(output.get("label_filename"))
	}
	for _, w := range c.config.all("model_warmup") {
		for _, input := range w.all("inputs") {
			c.checkBelow(RuleWarmup, "warmup", input.get("value.input_data_file"))
		}
	}
	for _, state := range c.config.get("sequence_batching").all("state") {
		for _, initial := range state.all("initial_state") {
			c.checkBelow(RuleState, "initial_state", initial.get("data_file"))
		}
	}
	c.checkEnvironment()
	c.checkLibraries()
}

// checkLabels looks for a file with the names of classes, which lies in the model directory.
func (c *checker) checkLabels(f *field) {
	name := f.string()
	if name == "" {
		return
	}
	if !stays(name) {
		c.refuse(RuleLabels, c.in(f), "the label file %q is outside of the model directory", name).advise("put it into the model directory and name it without its path")
		return
	}
	p := path.Clean(name)
	e := c.tree.get(p)
	switch {
	case e != nil && e.dir:
		c.refuse(RuleLabels, c.in(f), "%s is a directory, not a file with labels", name).advise("name the file")
	case e != nil && e.size == 0:
		c.warn(RuleLabels, c.in(f), "the label file %s is empty", name).advise("write one label a line, or take label_filename out")
	case e == nil && !c.tree.refused[p]:
		c.refuse(RuleLabels, c.in(f), "there is no label file %s in the model directory", name).advise("%s", c.elsewhere(p, "put it there, or take label_filename out"))
	}
}

// checkBelow looks for the file that f names, which lies in directory dir.
func (c *checker) checkBelow(r Rule, dir string, f *field) {
	name := f.string()
	if name == "" {
		return
	}
	if !stays(name) {
		c.refuse(r, c.in(f), "%q leads out of the directory %s", name, dir).advise("put the file into %s and name it without its path", dir)
		return
	}
	p := path.Join(dir, name)
	if !c.tree.file(p) && !c.tree.refused[p] {
		c.refuse(r, c.in(f), "there is no file %s", p).advise("%s", c.elsewhere(p, "put it there: Triton looks for it in the directory "+dir+" of the model"))
	}
}

// elsewhere says where a file of the same name lies, or else what otherwise says.
func (c *checker) elsewhere(p, otherwise string) string {
	for _, e := range c.tree.sorted() {
		if !e.dir && e.name() == path.Base(p) {
			return "move " + e.path + " to " + p
		}
	}
	return otherwise
}

// parameter finds the value of a parameter; nil when it is not given.
func (c *checker) parameter(key string) *field {
	keys, values := c.config.pairs("parameters")
	for n, k := range keys {
		if k == key {
			return values[n].get("string_value")
		}
	}
	return nil
}

// checkEnvironment looks for the Python environment that a model brings along.
func (c *checker) checkEnvironment() {
	f := c.parameter("EXECUTION_ENV_PATH")
	env := f.string()
	if env == "" || c.backend.name != backendPython {
		return
	}
	below, ok := strings.CutPrefix(env, modelDirVariable+"/")
	switch {
	case !ok:
		c.warn(RuleEnv, c.in(f), "%q must be there on the server, where it cannot be seen from here", env).
			advise("put the environment into the model and write %s/FILE", modelDirVariable)
	case !stays(below):
		c.warn(RuleEnv, c.in(f), "%q lies outside of the model, where it cannot be seen from here", env).
			advise("put the environment into the model and write %s/FILE", modelDirVariable)
	case c.tree.get(path.Clean(below)) == nil && !c.tree.refused[path.Clean(below)]:
		c.refuse(RuleEnv, c.in(f), "there is no %s in the model directory", below).advise("%s", c.elsewhere(path.Clean(below), "put the environment there"))
	}
}

// checkLibraries looks for libraries with operations of the model's own.
func (c *checker) checkLibraries() {
	for _, f := range c.config.get("model_operations").all("op_library_filename") {
		name := f.string()
		if path.IsAbs(name) {
			c.warn(RuleOpLibrary, c.in(f), "%s must be there on the server, where it cannot be seen from here", name).advise("see that the server has it")
			continue
		}
		there := c.tree.get(path.Clean(name)) != nil
		for _, v := range c.served {
			there = there || c.tree.get(path.Join(v.dir.path, name)) != nil
		}
		if !there {
			c.warn(RuleOpLibrary, c.in(f), "there is no %s in the model", name).advise("put the library into the model directory, or see that the server has it")
		}
	}
}
