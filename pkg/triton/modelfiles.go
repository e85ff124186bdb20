package triton

import (
	"path"
	"slices"
	"strings"
)

// modelFile is the name of the model file in a version directory, "" when there is no rule.
func (c *checker) modelFile() string {
	if file := c.config.str("default_model_filename"); file != "" {
		return file
	}
	return c.backend.file
}

// checkVersion looks whether version v has what the backend needs.
func (c *checker) checkVersion(v version) {
	file := c.modelFile()
	switch {
	case c.backend.platform == platformEnsemble:
	case c.tree.refused[v.dir.path]: // nobody knows what is in it
	case file == "" && c.backend.shape == anyFile:
		if !slices.ContainsFunc(c.tree.below[v.dir.path], func(e *entry) bool { return !isJunk(e) }) {
			c.refuse(RuleModelFile, c.at(v.dir.path), "version %d is empty", v.number).advise("put the model file into it")
		}
	case file == "":
	case !c.checkFileName(file, c.config.get("default_model_filename")):
	default:
		c.checkModelFile(v, file, c.checkByCapability(v))
	}
}

// checkByCapability looks for the files that are meant for one kind of GPU each, and reports whether there are any.
func (c *checker) checkByCapability(v version) bool {
	_, files := c.config.pairs("cc_model_filenames")
	for _, f := range files {
		if f.string() == "" || !c.checkFileName(f.string(), f) {
			continue
		}
		p := v.dir.path + "/" + f.string()
		e := c.tree.get(p)
		if e != nil {
			c.checkContents(e)
		} else if !c.tree.refused[p] {
			c.refuse(RuleModelFile, c.in(f), "version %d has no %s", v.number, f.string()).advise("put the file into %s, or take it out of cc_model_filenames", v.dir.path)
		}
	}
	return len(files) > 0
}

// checkFileName reports whether name stays in its version directory.
func (c *checker) checkFileName(name string, f *field) bool {
	if stays(name) {
		return true
	}
	if !slices.ContainsFunc(c.found, func(g *Finding) bool { return g.Rule == RuleFileName && g.Line == f.line }) {
		c.refuse(RuleFileName, c.in(f), "%q leads out of the version directory", name).advise("put the file into the version directory and name it without its path")
	}
	return false
}

// stays reports whether a path that a configuration names leads nowhere but downwards.
func stays(p string) bool {
	clean := path.Clean(p)
	return p != "" && clean != ".." && !strings.HasPrefix(clean, "../") && !path.IsAbs(clean)
}

// checkModelFile looks at the model file of a version. With others there may be none by the default name.
func (c *checker) checkModelFile(v version, file string, others bool) {
	p := path.Join(v.dir.path, file)
	e := c.tree.get(p)
	switch {
	case e != nil:
		c.checkKind(v, e)
	case others || c.tree.refused[p]:
	case c.backend.name == "dali" && c.tree.file(v.dir.path+"/dali.py"):
	case c.backend.shape == nothing:
		c.warn(RuleModelFile, c.at(v.dir.path), "version %d has no %s", v.number, file).advise("put it there, if the backend needs it")
	default:
		c.missingFile(v, file)
	}
}

// missingFile says where the model file may be instead.
func (c *checker) missingFile(v version, file string) {
	f := c.refuse(RuleModelFile, c.at(v.dir.path), "version %d has no %s", v.number, file)
	f.advise("put the model file there under this name")
	if len(c.tree.below[v.dir.path]) == 0 {
		f.Text += ": its directory is empty"
	}
	for _, e := range c.tree.sorted() {
		if e.name() == path.Base(file) && e.path != v.dir.path+"/"+file {
			f.advise("move %s to %s/%s", e.path, v.dir.path, file)
			return
		}
	}
	if file == "model.savedmodel" && c.tree.file(v.dir.path+"/saved_model.pb") {
		f.advise("put saved_model.pb and variables into a directory %s/%s", v.dir.path, file)
		return
	}
	if other, ok := c.onlyFile(v, file); ok {
		f.advise("rename %s to %s, or write default_model_filename: %q", other.path, file, other.name())
		if b, ok := byFile(other.name()); ok && b.name == c.backend.name && b.platform != "" {
			f.advise("write platform: %q, or put a %s there", b.platform, file)
		}
	}
}

// onlyFile is the single file that could be meant: with the ending of file, or else the only one.
func (c *checker) onlyFile(v version, file string) (*entry, bool) {
	var all, alike []*entry
	for _, e := range c.tree.below[v.dir.path] {
		if isJunk(e) || strings.HasPrefix(e.name(), ".") {
			continue
		}
		all = append(all, e)
		if path.Ext(e.name()) == path.Ext(file) {
			alike = append(alike, e)
		}
	}
	switch {
	case len(alike) == 1:
		return alike[0], true
	case len(all) == 1:
		return all[0], true
	}
	return nil, false
}

// checkKind looks whether the model file e is a file or directory as it should be, and then into it.
func (c *checker) checkKind(v version, e *entry) {
	shape := c.backend.shape
	switch {
	case shape == oneFile && e.dir:
		c.refuse(RuleModelFileKind, c.at(e.path), "this is a directory, and Triton wants a file here").advise("put the file itself in its place")
	case shape == directory && !e.dir:
		c.refuse(RuleModelFileKind, c.at(e.path), "this is a file, and Triton wants a directory here").
			advise("make a directory %s that holds saved_model.pb and variables", e.path)
	case shape == directory:
		c.checkSavedModel(e)
	case shape == either && e.dir:
		c.checkOnnxDir(e)
	case !e.dir:
		c.checkContents(e)
	}
	c.checkPartner(v, e)
}

func (c *checker) checkSavedModel(dir *entry) {
	for _, name := range []string{"saved_model.pb", "saved_model.pbtxt"} {
		p := dir.path + "/" + name
		if e := c.tree.get(p); e != nil && !e.dir {
			c.checkContents(e)
			return
		}
		if c.tree.refused[p] {
			return
		}
	}
	f := c.refuse(RuleModelFile, c.at(dir.path), "the directory has no saved_model.pb")
	f.advise("put what TensorFlow wrote into it: saved_model.pb and variables")
	for _, d := range c.tree.dirs(dir.path) {
		if c.tree.file(d.path + "/saved_model.pb") {
			f.advise("move what is in %s up into %s", d.path, dir.path)
		}
	}
}

func (c *checker) checkOnnxDir(dir *entry) {
	for _, name := range []string{"model.onnx", dir.name()} {
		p := dir.path + "/" + name
		if e := c.tree.get(p); e != nil && !e.dir {
			c.checkContents(e)
			return
		}
		if c.tree.refused[p] {
			return
		}
	}
	c.refuse(RuleModelFile, c.at(dir.path), "the directory has no model.onnx").advise("put model.onnx and the files with its weights into it")
}

// checkPartner looks for the file that belongs to e.
func (c *checker) checkPartner(v version, e *entry) {
	if c.backend.partner == "" || e.dir {
		return
	}
	var partner string
	switch {
	case c.backend.name != backendOpenVINO:
		partner = path.Join(path.Dir(e.path), "init_"+e.name())
	case path.Ext(e.path) == ".xml":
		partner = strings.TrimSuffix(e.path, ".xml") + ".bin"
	default:
		return
	}
	if !c.tree.file(partner) && !c.tree.refused[partner] {
		c.refuse(RuleModelFileExtra, c.at(v.dir.path), "%s needs %s beside it", e.path, path.Base(partner)).advise("put it there: the two are written together")
	}
}
