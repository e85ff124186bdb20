package triton

import (
	"slices"
	"strings"
)

// backend is what Triton runs a model with, and what it expects in a version directory.
type backend struct {
	platform string // the older way to name it; may be empty
	name     string // empty for ensembles, and for what only the first servers had
	file     string // the default name of the model file; empty when there is none
	partner  string // a second file that belongs to it
	shape    shape
	derives  derivation
	last     ServerVersion // the last release that has it; zero when the current one does
}

// shape says whether the model file is a file.
type shape int

const (
	oneFile   shape = iota
	directory       // a directory
	either          // a file, or a directory that holds one of the same name
	anyFile         // no rule: any file will do
	nothing         // no file is needed
)

// derivation says whether servers derive inputs and outputs that the configuration leaves out.
type derivation int

const (
	derivesNone  derivation = iota // the configuration must name them
	derivesAll                     // from the model file
	derivesMaybe                   // when the model's code does so
)

const (
	platformEnsemble   = "ensemble"
	platformGraphDef   = "tensorflow_graphdef"
	platformSavedModel = "tensorflow_savedmodel"
	backendTensorFlow  = "tensorflow"
	backendTensorRT    = "tensorrt"
	backendPyTorch     = "pytorch"
	backendPython      = "python"
	backendOpenVINO    = "openvino"
)

// backends are those that Triton's releases have come with and whose files are known. Of two of one name the first is the
// default.
var backends = []backend{
	{platform: "tensorrt_plan", name: backendTensorRT, file: "model.plan", derives: derivesAll},
	{platform: "onnxruntime_onnx", name: "onnxruntime", file: "model.onnx", shape: either, derives: derivesAll},
	{platform: platformGraphDef, name: backendTensorFlow, file: "model.graphdef", last: v2502},
	{platform: platformSavedModel, name: backendTensorFlow, file: "model.savedmodel", shape: directory, derives: derivesAll, last: v2502},
	{platform: "pytorch_libtorch", name: backendPyTorch, file: "model.pt"},
	{platform: "torch_aoti", name: backendPyTorch, file: "model.pt2"},
	{name: backendOpenVINO, file: "model.xml", partner: "model.bin", derives: derivesAll},
	{name: backendPython, file: "model.py", derives: derivesMaybe},
	{name: "dali", file: "model.dali", derives: derivesMaybe},
	{name: "fil", shape: anyFile},
	{platform: platformEnsemble, shape: nothing},
	{platform: "caffe2_netdef", file: "model.netdef", partner: "init_model.netdef", last: v2010},
	{platform: "custom", file: "libcustom.so", last: v2010},
}

// otherBackends come with Triton too, but there is no rule for their files.
var otherBackends = []string{"identity", "repeat", "square", "vllm", "tensorrtllm", "distributed_addsub", "sequence", "dyna_sequence"}

// platformAliases are other spellings of a platform.
var platformAliases = map[string]string{"libtorch": "pytorch_libtorch"}

// byPlatform finds the backend of a platform.
func byPlatform(platform string) (backend, bool) {
	if alias, ok := platformAliases[platform]; ok {
		platform = alias
	}
	i := slices.IndexFunc(backends, func(b backend) bool { return platform != "" && b.platform == platform })
	if i < 0 {
		return backend{}, false
	}
	return backends[i], true
}

// byName finds the default backend of a name.
func byName(name string) (backend, bool) {
	i := slices.IndexFunc(backends, func(b backend) bool { return name != "" && b.name == name })
	if i < 0 {
		return backend{name: name, shape: nothing, derives: derivesMaybe}, slices.Contains(otherBackends, name)
	}
	return backends[i], true
}

// byFile finds the backend whose model file is called file by default.
func byFile(file string) (backend, bool) {
	i := slices.IndexFunc(backends, func(b backend) bool { return file != "" && b.file == file && b.name != "" })
	if i < 0 {
		return backend{}, false
	}
	return backends[i], true
}

// derivable are the model files by which servers tell the backend of a configuration that names none, in their order.
var derivable = []string{"model.graphdef", "model.savedmodel", "model.plan", "model.onnx", "model.xml", "model.pt", "model.pt2", "model.py"}

// derive finds the backend as a server does that is told none: by the files in the first directory below the model
// directory, whatever that is, or else by the ending of the model's name, as in name.backend.
func (c *checker) derive() (backend, bool) {
	dirs := c.tree.dirs("")
	if len(dirs) > 0 {
		if b, ok := c.deriveFrom(dirs[0].path); ok {
			return b, true
		}
	}
	if _, ending, ok := strings.Cut(c.name, "."); ok && !c.Version.strict() {
		b, _ := byName(ending)
		b.name, b.file, b.shape = ending, "model."+ending, oneFile
		return b, true
	}
	return backend{}, false
}

// deriveFrom finds the backend by the files in the directory at path.
func (c *checker) deriveFrom(path string) (backend, bool) {
	for _, file := range derivable {
		b, _ := byFile(file)
		e := c.tree.get(path + "/" + file)
		if e != nil && (b.shape == either || e.dir == (b.shape == directory)) {
			return b, true
		}
	}
	return backend{}, false
}

func platformNames() []string {
	var n []string
	for _, b := range backends {
		if b.platform != "" {
			n = append(n, b.platform)
		}
	}
	return n
}

func backendNames() []string {
	n := slices.Clone(otherBackends)
	for _, b := range backends {
		if b.name != "" {
			n = append(n, b.name)
		}
	}
	slices.Sort(n)
	return slices.Compact(n)
}
