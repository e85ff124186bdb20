package bundle

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// The media types of a model's files: ModelPack has one for each purpose, all are read alike. Its archives are not: a file
// is stored as it is.
const (
	modelFilePrefix = "application/vnd.cncf.model."
	modelFileSuffix = ".v1.raw"
)

// readModel reads the model that an entry of index.json is about.
func (r *reading) readModel(e manifest.Descriptor) error {
	name := e.Annotations[AnnotationModel]
	if err := manifest.CheckModelName(name); err != nil {
		return err
	}
	if r.names["model "+fold(name)] {
		return malformed("it has two models named %s, or so but for the case", name)
	}
	r.names["model "+fold(name)] = true
	doc, err := r.manifest(e, name)
	if err != nil {
		return err
	}
	if e.ArtifactType != ModelType || doc.ArtifactType != ModelType || doc.Config == nil || doc.Config.MediaType != ModelConfigType {
		return malformed("%s is not a model but %.100q", name, doc.Kind())
	}
	if _, err := r.document(*doc.Config, "the configuration of "+name); err != nil { // nothing in it counts, but its bytes do
		return err
	}
	m := manifest.Model{Name: name, Origin: r.origin}
	if m.Files, err = modelFiles(doc.Layers); err != nil {
		return err
	}
	if m.Dirs, err = list(doc.Annotations[AnnotationDirs], manifest.CheckFilePath); err != nil {
		return err
	}
	if m.After, err = list(doc.Annotations[AnnotationAfter], manifest.CheckModelName); err != nil {
		return err
	}
	if err := checkTree(m); err != nil {
		return err
	}
	for _, f := range m.Files {
		if err := r.reach(f.Descriptor, false, f.Path+" of "+name); err != nil {
			return err
		}
	}
	r.models = append(r.models, m)
	return nil
}

// modelFiles makes files of layers, sorted by path.
func modelFiles(layers []manifest.Descriptor) ([]manifest.File, error) {
	files := make([]manifest.File, len(layers))
	for n, l := range layers {
		p := l.Annotations[AnnotationFilePath]
		if err := manifest.CheckFilePath(p); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(l.MediaType, modelFilePrefix) || !strings.HasSuffix(l.MediaType, modelFileSuffix) {
			return nil, malformed("%.200q is stored as %.100q, and not as it is", p, l.MediaType)
		}
		files[n] = manifest.File{Path: p, Descriptor: manifest.Descriptor{Digest: l.Digest, Size: l.Size}}
	}
	slices.SortFunc(files, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// list reads a JSON array in an annotation, every item of which check passes. It is sorted and has no item twice.
func list(raw string, check func(string) error) ([]string, error) {
	if raw == "" {
		return nil, nil
	}
	var all []string
	if err := json.Unmarshal([]byte(raw), &all); err != nil {
		return nil, malformed("an annotation is no list: %w", err)
	}
	for _, s := range all {
		if err := check(s); err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		return nil, malformed("a list names something twice")
	}
	return all, nil
}

// checkTree sees that a model's files and folders make one tree, on any file system: no name twice, not even in another
// case, nothing that is both file and folder, and every parent is there.
func checkTree(m manifest.Model) error {
	dirs, names := map[string]bool{".": true}, map[string]string{}
	add := func(p string) error {
		if other, twice := names[fold(p)]; twice {
			return malformed("the model %s has both %.200q and %.200q", m.Name, other, p)
		}
		names[fold(p)] = p
		return nil
	}
	for _, d := range m.Dirs {
		if err := add(d); err != nil {
			return err
		}
		dirs[d] = true
	}
	for _, f := range m.Files {
		if err := add(f.Path); err != nil {
			return err
		}
	}
	for p := range names {
		if parent := path.Dir(names[p]); !dirs[parent] {
			return malformed("the model %s has %.200q, but no folder for it", m.Name, names[p])
		}
	}
	return nil
}

// fold gives names that differ only by case one form.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}
