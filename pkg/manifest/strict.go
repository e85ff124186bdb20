package manifest

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
)

// What a document may have: how deep objects and arrays may lie in each other, how many items one of them may have, and how
// many values there may be in all. A manifest of 40,000 files has 300,000 values. Without such bounds a small document of
// empty objects would take a hundred times its size once it is decoded.
const (
	maxDepth  = 64
	maxItems  = 1 << 16
	maxValues = 1 << 20
)

// maxNamed is how deep objects may lie whose keys we go by: a descriptor in a manifest, rootfs in a configuration.
const maxNamed = 2

// CheckJSON fails with KindMalformed unless raw is one JSON value that every reader understands alike: no object has a key
// twice, nothing stands behind it, and no key is one of names but for its case, which package json would take for the same and
// others would not. Nor may it have so many values that decoding it would take far more memory than it has bytes.
func CheckJSON(raw []byte, names ...string) error {
	s := &strictReader{d: json.NewDecoder(bytes.NewReader(raw)), names: names, left: maxValues}
	if err := s.value(0, 0); err != nil {
		return err
	}
	if _, err := s.d.Token(); err != io.EOF {
		return ambiguous("something stands behind its end")
	}
	return nil
}

type strictReader struct {
	d     *json.Decoder
	names []string
	left  int // values that there may still be
}

// value reads one value that lies in depth others, of which objects are objects.
func (s *strictReader) value(depth, objects int) error {
	t, err := s.d.Token()
	if err != nil {
		return notJSON(err)
	}
	if s.left--; s.left < 0 {
		return excessive("it has more than %d values", maxValues)
	}
	delim, compound := t.(json.Delim)
	if !compound {
		return nil
	}
	if depth >= maxDepth {
		return excessive("it is nested deeper than %d", maxDepth)
	}
	if delim == '{' {
		objects++
	}
	seen := map[string]bool{}
	for n := 0; s.d.More(); n++ {
		if n == maxItems {
			return excessive("a list in it has more than %d items", maxItems)
		}
		if delim == '{' {
			if err := s.key(seen, objects); err != nil {
				return err
			}
		}
		if err := s.value(depth+1, objects); err != nil {
			return err
		}
	}
	if _, err := s.d.Token(); err != nil {
		return notJSON(err)
	}
	return nil
}

func (s *strictReader) key(seen map[string]bool, objects int) error {
	t, err := s.d.Token()
	if err != nil {
		return notJSON(err)
	}
	key, _ := t.(string) // a decoder gives nothing else there
	if seen[key] {
		return ambiguous("it has the key %.100q twice", key)
	}
	seen[key] = true
	for _, n := range s.names {
		if objects <= maxNamed && key != n && strings.EqualFold(key, n) {
			return ambiguous("it has the key %.100q, which is not %q", key, n)
		}
	}
	return nil
}

func notJSON(err error) error {
	return Fail(KindMalformed, "read document", "the document is not JSON: %w", err)
}

func ambiguous(format string, args ...any) error {
	return Fail(KindMalformed, "read document", "the document can be read in several ways: "+format, args...)
}

func excessive(format string, args ...any) error {
	return Fail(KindMalformed, "read document", format, args...)
}
