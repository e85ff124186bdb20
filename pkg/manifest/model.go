package manifest

import (
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// File is one regular file of a model, by its slash path below the model directory.
type File struct {
	Path string `json:"path"`
	Descriptor
}

// Model is one Triton model directory as it shall be on the host. Files and Dirs are sorted by path.
type Model struct {
	Name  string `json:"name"`
	Files []File `json:"files"`
	// Dirs are all directories below the model directory, the empty ones included.
	Dirs []string `json:"dirs,omitempty"`
	// After names models that must be placed before this one: the steps of an ensemble.
	After []string `json:"after,omitempty"`
	// Origin is the folder it was read from, for people.
	Origin string `json:"origin,omitempty"`
}

// Size is the sum of the files in bytes.
func (m Model) Size() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// Repository is what a host told about a folder of models.
type Repository struct {
	Path   string      `json:"path"`           // as it was asked for
	Real   string      `json:"real,omitempty"` // without symbolic links; empty when it is not there
	Stage  Space       `json:"stage"`          // the folder .clara-push beside it
	Models []HostModel `json:"models,omitempty"`
	Staged []Staged    `json:"staged,omitempty"`
	// Present are those that are there of the models of which only that was asked.
	Present []string `json:"present,omitempty"`
	// Exchange tells whether the file system can exchange two entries in one step.
	Exchange bool `json:"exchange"`
	// Mended says what was left in the middle by a push that died, and how it was ended.
	Mended []string `json:"mended,omitempty"`
	// Refusal says why nothing can be placed there; empty when it can. Advice are the commands that mend it.
	Refusal string `json:"refusal,omitempty"`
	Advice  string `json:"advice,omitempty"`
}

// HostModel is one entry of a repository.
type HostModel struct {
	Name  string    `json:"name"`
	Found Found     `json:"found"`
	Files []File    `json:"files,omitempty"`
	Dirs  []string  `json:"dirs,omitempty"`
	Newer time.Time `json:"newer"` // the newest time in the tree
	// Closed are paths, "." for the directory itself, that other users may not read; the first few.
	Closed []string `json:"closed,omitempty"`
	// Refusal says why this user may not change it; empty when it may. Advice is what mends it.
	Refusal string `json:"refusal,omitempty"`
	Advice  string `json:"advice,omitempty"`
}

// Found says what an entry of a repository is.
type Found string

// What a name in a repository can be. Only a directory, or nothing, can be replaced.
const (
	FoundNothing   Found = ""
	FoundDirectory Found = "directory"
	FoundSymlink   Found = "symbolic link"
	FoundOther     Found = "file"
)

// ModelQuery says what a Repository shall cover.
type ModelQuery struct {
	Names []string `json:"names,omitempty"`
	Blobs []Digest `json:"blobs,omitempty"` // files to look for in the stage
	// Present are models of which is asked only whether they are there, not what they consist of.
	Present []string `json:"present,omitempty"`
	All     bool     `json:"all,omitempty"` // every model that is there
}

// SmallFile is up to what size in bytes a model's file travels in a pack, together with others; larger ones in chunks. Part
// of the protocol.
const SmallFile int64 = 256 << 10

// Part is one file in a pack.
type Part struct {
	Digest Digest `json:"digest"`
	Size   int64  `json:"size"`
}

// Placement is the atomic step that makes a model visible.
type Placement string

// The placements, from smallest to largest.
const (
	PlaceNothing Placement = "nothing"  // the host has this very model
	PlaceFile    Placement = "file"     // one file is put in, replaced or taken away
	PlaceVersion Placement = "version"  // one version directory likewise
	PlaceModel   Placement = "exchange" // the model directory is exchanged
	PlaceCreate  Placement = "create"   // the model directory is new
	PlaceFormer  Placement = "rollback" // a former state is put back
	PlaceRemove  Placement = "remove"   // the model directory is taken away
)

// ModelPlan is what one model needs.
type ModelPlan struct {
	Model Model     `json:"model"`
	Place Placement `json:"place"`
	// Entry is the path below the model directory that PlaceFile and PlaceVersion act on. Gone tells that it is taken away.
	Entry string `json:"entry,omitempty"`
	Gone  bool   `json:"gone,omitempty"`
	// Live are the paths of files that the host takes over from its own tree; all others come from the stage.
	Live []string `json:"live,omitempty"`
	// Kept are version directories that only the host has and that stay.
	Kept []string `json:"kept,omitempty"`
	// Warnings are for people.
	Warnings []string `json:"warnings,omitempty"`
}

// Sent are the files that the step places and that come from the stage.
func (p ModelPlan) Sent() []File { return p.placed(false) }

// Copied are the files that the step places and that the host copies from its own tree.
func (p ModelPlan) Copied() []File { return p.placed(true) }

func (p ModelPlan) placed(fromLive bool) []File {
	live := map[string]bool{}
	for _, f := range p.Live {
		live[f] = true
	}
	var files []File
	for _, f := range p.Model.Files {
		if p.Below(f.Path) && live[f.Path] == fromLive {
			files = append(files, f)
		}
	}
	return files
}

// Below reports whether the path p of the model is what the step places, or part of it.
func (p ModelPlan) Below(path string) bool {
	return p.Entry == "" || path == p.Entry || strings.HasPrefix(path, p.Entry+"/")
}

// DoneModel says what happened to one model.
type DoneModel struct {
	Name  string    `json:"name"`
	Path  string    `json:"path,omitempty"` // of the model directory
	Place Placement `json:"place"`
	Entry string    `json:"entry,omitempty"`
	Gone  bool      `json:"gone,omitempty"` // it was taken away
	Kept  []string  `json:"kept,omitempty"` // version directories that only the host had and that stayed
	// Before and After are digests of the whole model as it was and as it is, see TreeDigest; empty for no model, and in
	// receipts of older versions. The host keeps a list of the files of each.
	Before Digest `json:"before,omitempty"`
	After  Digest `json:"after,omitempty"`
	// Undoes is the ID of the receipt that a rollback takes back.
	Undoes string `json:"undoes,omitempty"`
}

// MaxModelFiles bounds how many files and folders a model may have: a plan must fit into one message to the host.
const MaxModelFiles = 40_000

// Changed reports whether anything was done.
func (d DoneModel) Changed() bool { return d.Place != PlaceNothing }

// maxModelName leaves room for endings within the 255 bytes that file systems give a name.
const maxModelName = 200

// CheckModelName reports whether name can be the name of a model directory: one path element, printable, not hidden.
func CheckModelName(name string) error {
	if len(name) > maxModelName {
		return Fail(KindModel, "check model", "%.40q… cannot be the name of a model: it has %d bytes", Plain(name), len(name)).
			Advise("use at most %d", maxModelName)
	}
	if name == "" || name[0] == '.' || name[0] == '-' || !printable(name) || strings.ContainsAny(name, "/\\") {
		return Fail(KindModel, "check model", "%q cannot be the name of a model", Plain(name)).
			Advise("use letters, digits, dot, underscore and hyphen, beginning with a letter or digit")
	}
	return nil
}

// CheckFilePath reports whether p can be a file or directory below a model directory: a clean relative slash path.
func CheckFilePath(p string) error {
	if p == "" || p == "." || p != path.Clean(p) || p[0] == '/' || p == ".." || strings.HasPrefix(p, "../") || !printable(p) || len(p) > 4000 {
		return Fail(KindModel, "check model", "%q cannot be the path of a file in a model", Plain(p)).
			Advise("rename it; control characters cannot be part of a name")
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// IsVersion reports whether a directory of this name is a version to Triton: a number without a leading zero.
func IsVersion(name string) bool {
	return name != "" && len(name) <= 18 && (name[0] != '0' || name == "0") &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < '0' || r > '9' })
}

// topOf is the first element of a slash path.
func topOf(p string) string {
	top, _, _ := strings.Cut(p, "/")
	return top
}

// sortModels puts every model behind those it names in After, and keeps the order otherwise.
func sortModels(models []Model) []Model {
	var sorted []Model
	left := slices.Clone(models)
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(m Model) bool {
			return !slices.ContainsFunc(left, func(o Model) bool { return o.Name != m.Name && slices.Contains(m.After, o.Name) })
		})
		i = max(i, 0) // a circle is Triton's to refuse; any order serves
		sorted = append(sorted, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return sorted
}
