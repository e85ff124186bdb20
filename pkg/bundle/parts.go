package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// partsSuffix is what the name of a list of parts ends with, before which stands that of the whole file.
const partsSuffix = ".parts.json"

// maxParts is the most parts that three digits number.
const maxParts = 999

// maxPartsDocument is how many bytes a list of parts may have.
const maxPartsDocument = 1 << 20

// partsDocument is FILE.parts.json: what FILE was cut into. Nobody signs it. It helps to find and to name parts that are
// missing or damaged; what the bundle is, index.json alone says.
type partsDocument struct {
	Size  int64           `json:"size"`  // bytes of all parts
	Index manifest.Digest `json:"index"` // of the bundle's index.json
	Parts []part          `json:"parts"` // in order

	file string // what was cut, without a folder
}

type part struct {
	Name   string          `json:"name"` // without a folder
	Size   int64           `json:"size"`
	Digest manifest.Digest `json:"digest"`
}

// partName is the name of part number n, counted from 0, of file.
func partName(file string, n int) string { return fmt.Sprintf("%s.%03d", file, n+1) }

// partNumber finds the number at the end of a part's name.
var partNumber = regexp.MustCompile(`^(.+)\.[0-9]{3}$`)

// parseParts reads a list of parts. It fails with KindMalformed.
func parseParts(raw []byte) (partsDocument, error) {
	var l partsDocument
	if err := manifest.CheckJSON(raw, "size", "index", "parts", "name", "digest"); err != nil {
		return l, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return l, malformed("the list of parts: %w", err)
	}
	if len(l.Parts) == 0 || len(l.Parts) > maxParts {
		return l, malformed("the list names %d parts", len(l.Parts))
	}
	if err := manifest.CheckDigest(l.Index); err != nil {
		return l, err
	}
	var sum int64
	for n, p := range l.Parts {
		if err := manifest.CheckDigest(p.Digest); err != nil {
			return l, err
		}
		if !isPlainName(p.Name) || p.Name != partName(strings.TrimSuffix(l.Parts[0].Name, ".001"), n) {
			return l, malformed("%.200q cannot be the name of part %d", p.Name, n+1)
		}
		if p.Size <= 0 || p.Size > maxTar-sum {
			return l, malformed("part %s cannot have %d bytes", p.Name, p.Size)
		}
		sum += p.Size
	}
	if sum != l.Size {
		return l, malformed("the parts have %d bytes together, the list says %d", sum, l.Size)
	}
	return l, nil
}

// isPlainName reports whether name is one element of a path on every system, and safe to print.
func isPlainName(name string) bool {
	return name != "" && name[0] != '.' && len(name) <= maxText && !strings.ContainsAny(name, `/\:*?"<>|`) && name == manifest.Plain(name)
}

// isPart reports whether path is a list of parts, or a part beside which the list or the first part lies.
func isPart(path string) bool {
	if strings.HasSuffix(path, partsSuffix) {
		return true
	}
	m := partNumber.FindStringSubmatch(path)
	return m != nil && areParts(m[1])
}

// areParts reports whether path was cut into parts that are there.
func areParts(path string) bool { return exists(path+partsSuffix) || exists(partName(path, 0)) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// findParts finds the folder in which parts lie, and the name of what they make together, by the list, by one of them, by the
// whole that they make, or by the folder.
func findParts(path string) (dir, file string, err error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		file, err := onlyParts(path)
		return path, file, err
	}
	whole := path
	if base, ok := strings.CutSuffix(path, partsSuffix); ok {
		whole = base
	} else if m := partNumber.FindStringSubmatch(path); m != nil && !areParts(path) {
		whole = m[1]
	}
	if !areParts(whole) {
		if later := laterPart(whole); later != "" {
			return "", "", headless(filepath.Base(whole), later)
		}
		return "", "", manifest.Fail(manifest.KindNotFound, stepRead, "there is no such file").
			Advise("a bundle is a file, a folder, or parts: FILE.001 and so on with FILE%s", partsSuffix)
	}
	return filepath.Dir(whole), filepath.Base(whole), nil
}

// onlyParts finds the one bundle whose parts lie in dir.
func onlyParts(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", unreadable(err)
	}
	var files []string
	for _, e := range entries {
		file, ok := strings.CutSuffix(e.Name(), partsSuffix)
		if !ok {
			file, ok = strings.CutSuffix(e.Name(), ".001")
			ok = ok && !exists(filepath.Join(dir, file+partsSuffix))
		}
		if ok && isPlainName(file) {
			files = append(files, file)
		}
	}
	switch len(files) {
	case 0:
		return "", noBundle(dir, entries)
	case 1:
		return files[0], nil
	}
	return "", manifest.Fail(manifest.KindUsage, stepRead, "the folder holds the parts of %d bundles", len(files)).
		Advise("name the one that is meant, such as %s", filepath.Join(dir, files[0]+partsSuffix))
}

// noBundle is the failure of a folder in which there is neither a layout nor the first part or the list of parts. It says
// which file in it may have been meant.
func noBundle(dir string, entries []fs.DirEntry) error {
	for _, e := range entries {
		if e.Type().IsRegular() && isBundleTar(filepath.Join(dir, e.Name())) {
			return manifest.Fail(manifest.KindUsage, stepRead, "the folder is no bundle, but %s in it may be one", manifest.Plain(e.Name())).
				Advise("name the file: %s", manifest.Plain(filepath.Join(dir, e.Name())))
		}
	}
	for _, e := range entries {
		if m := partNumber.FindStringSubmatch(e.Name()); m != nil && isPlainName(e.Name()) {
			return headless(m[1], e.Name())
		}
	}
	return malformed("the folder holds no bundle: neither %s nor parts", indexFile).Advise("%s", hintOther)
}

// isBundleTar reports whether a file begins as the tar of a bundle.
func isBundleTar(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	block := make([]byte, tarBlock)
	if _, err := io.ReadFull(f, block); err != nil {
		return false
	}
	h, err := parseHeader(block)
	return err == nil && h.name == layoutFile
}

// laterPart is the name of a part of file that is there, although the first is not; empty when there is none.
func laterPart(file string) string {
	for n := 1; n < maxParts; n++ {
		if exists(partName(file, n)) {
			return filepath.Base(partName(file, n))
		}
	}
	return ""
}

// headless is the failure of parts whose first is missing, and their list with it.
func headless(file, later string) error {
	return manifest.Fail(manifest.KindNotFound, stepRead, "there is %s, but neither %s nor %s%s", later, partName(file, 0), file, partsSuffix).
		Advise("copy all parts into one folder, and %s%s with them", file, partsSuffix)
}

// listParts reads the list of parts of file. Without one, the parts are those that are there and their digests empty.
func listParts(root *os.Root, file string) (partsDocument, error) {
	f, err := (&folder{root: root}).open(file + partsSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return countedParts(root, file), nil
	}
	if err != nil {
		return partsDocument{}, err
	}
	defer f.Close()
	raw, err := readWhole(f, file+partsSuffix, maxPartsDocument)
	if err != nil {
		return partsDocument{}, err
	}
	list, err := parseParts(raw)
	list.file = file
	return list, err
}

// countedParts lists the parts that are there. One that is not, though a later one is, is listed too.
func countedParts(root *os.Root, file string) partsDocument {
	l := partsDocument{file: file}
	last := 0 // how many parts there are up to the last that is there
	for n := range maxParts {
		p := part{Name: partName(file, n)}
		if info, err := root.Stat(p.Name); err == nil && info.Size() > 0 {
			last, p.Size = n+1, info.Size()
			l.Size += p.Size
		}
		l.Parts = append(l.Parts, p)
	}
	l.Parts = l.Parts[:last]
	return l
}
