package bundle

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// publish names the tar; parts of a former bundle of that name go.
func (s *tarStore) publish() ([]string, int64, error) {
	if s.cut.limit > 0 {
		return s.publishParts()
	}
	f := s.cut.files[0]
	if err := os.Rename(f.path, s.out.to); err != nil {
		return nil, 0, err
	}
	if !exists(s.out.to + partsSuffix) { // then files with such names are none of ours
		return []string{s.out.to}, f.size, nil
	}
	return []string{s.out.to}, f.size, removeParts(s.out.to)
}

// publishParts names the parts and, last, the list of them: without it they are no bundle. Those of a former bundle go first,
// so that at no moment parts of two bundles lie there; a former tar of that name goes last.
func (s *tarStore) publishParts() ([]string, int64, error) {
	doc := partsDocument{Index: s.index}
	for n, f := range s.cut.files {
		doc.Parts = append(doc.Parts, part{Name: filepath.Base(partName(s.out.to, n)), Size: f.size, Digest: f.digest})
		doc.Size += f.size
	}
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, 0, err
	}
	beside := filepath.Join(s.out.work, "parts.json")
	if err := writeSynced(beside, append(raw, '\n')); err != nil {
		return nil, 0, err
	}
	if err := removeParts(s.out.to); err != nil {
		return nil, 0, err
	}
	paths, err := s.nameParts(beside)
	if err != nil {
		return nil, 0, err
	}
	return paths, doc.Size + int64(len(raw)) + 1, removeIfThere(s.out.to)
}

// nameParts gives the parts and then their list the final names, and returns those.
func (s *tarStore) nameParts(list string) ([]string, error) {
	var paths []string
	for n, f := range s.cut.files {
		paths = append(paths, partName(s.out.to, n))
		if err := os.Rename(f.path, paths[n]); err != nil {
			return nil, err
		}
	}
	paths = append(paths, s.out.to+partsSuffix)
	return paths, os.Rename(list, paths[len(paths)-1])
}

// removeParts removes the parts of a former bundle, for good: first their list, then the last part and so on, so that what a
// kill leaves begins with the first and the next removal finds all of it.
func removeParts(file string) error {
	if err := removeIfThere(file + partsSuffix); err != nil {
		return err
	}
	for n := countedUp(file) - 1; n >= 0; n-- {
		if err := removeIfThere(partName(file, n)); err != nil {
			return err
		}
	}
	return syncFolder(filepath.Dir(file))
}

// countedUp is how many parts of file are there, up to the first that is not.
func countedUp(file string) int {
	n := 0
	for n < maxParts && exists(partName(file, n)) {
		n++
	}
	return n
}

// strays warns of parts of a bundle that lie without a list beside a tar of their name: what a writer left that was killed. Nobody
// can tell whose they are, so they stay.
func (out *output) strays(o WriteOptions) []string {
	n := countedUp(out.to)
	if o.Folder || o.Split > 0 || n == 0 || !isBundleTar(partName(out.to, 0)) {
		return nil
	}
	which := filepath.Base(partName(out.to, 0))
	if n > 1 {
		which += " to " + filepath.Base(partName(out.to, n-1))
	}
	return []string{fmt.Sprintf("%s beside it belong to another bundle, which was not finished or has lost its list: remove them, lest somebody takes them for this one", which)}
}
