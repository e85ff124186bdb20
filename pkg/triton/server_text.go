package triton

import (
	"fmt"
	"strconv"
	"strings"
)

// node is a field of the text that a server of the V1 protocol answers with: protobuf text as protobuf itself prints it. It
// is not for configurations, which people write; scan reads those.
type node struct {
	name  string
	value string // of a scalar, unquoted
	nodes []node // of a message
}

// maxNodes and maxNesting bound what an answer may cost. A status has about ten levels.
const (
	maxNodes   = 1 << 20
	maxNesting = 64
)

// readText reads a whole answer.
func readText(text string) (node, error) {
	r := textReader{rest: text}
	root := node{}
	var err error
	if root.nodes, err = r.nodes(0); err == nil && r.rest != "" {
		err = r.unexpected()
	}
	return root, err
}

type textReader struct {
	rest  string
	count int
}

// nodes reads up to a closing brace or the end.
func (r *textReader) nodes(depth int) ([]node, error) {
	var all []node
	for {
		r.space()
		if r.rest == "" || r.rest[0] == '}' {
			return all, nil
		}
		if r.count++; r.count > maxNodes || depth > maxNesting {
			return nil, fmt.Errorf("the answer is too deep or too long")
		}
		n, err := r.node(depth)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
}

func (r *textReader) node(depth int) (node, error) {
	n := node{name: r.word()}
	r.space()
	colon := r.take(':')
	r.space()
	var err error
	switch {
	case n.name == "":
		return n, r.unexpected()
	case r.take('{'):
		if n.nodes, err = r.nodes(depth + 1); err == nil && !r.take('}') {
			err = r.unexpected()
		}
	case !colon || r.rest == "":
		err = r.unexpected()
	case r.rest[0] == '"':
		n.value, err = r.quoted()
	default:
		if n.value = r.word(); n.value == "" {
			err = r.unexpected()
		}
	}
	return n, err
}

// word is a name, a number or the name of a value.
func (r *textReader) word() string {
	end := strings.IndexFunc(r.rest, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '.' && c != '-' && c != '+'
	})
	if end < 0 {
		end = len(r.rest)
	}
	w := r.rest[:end]
	r.rest = r.rest[end:]
	return w
}

func (r *textReader) quoted() (string, error) {
	for i := 1; i < len(r.rest); i++ {
		switch r.rest[i] {
		case '\\':
			i++
		case '"':
			raw := r.rest[:i+1]
			r.rest = r.rest[i+1:]
			if s, err := strconv.Unquote(strings.ReplaceAll(raw, `\'`, `'`)); err == nil {
				return s, nil
			}
			return raw[1 : len(raw)-1], nil
		}
	}
	return "", fmt.Errorf("the answer ends within a quotation")
}

func (r *textReader) space() { r.rest = strings.TrimLeft(r.rest, " \t\r\n") }

func (r *textReader) take(c byte) bool {
	if r.rest == "" || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

func (r *textReader) unexpected() error {
	if r.rest == "" {
		return fmt.Errorf("the answer ends in the middle")
	}
	return fmt.Errorf("the answer has %.20q where it should not", r.rest)
}

// all returns the fields called name.
func (n node) all(name string) []node {
	var found []node
	for _, m := range n.nodes {
		if m.name == name {
			found = append(found, m)
		}
	}
	return found
}

// get follows names downwards, always to the first field of a name; the zero node when there is none.
func (n node) get(names ...string) node {
	for _, name := range names {
		found := n.all(name)
		if len(found) == 0 {
			return node{}
		}
		n = found[0]
	}
	return n
}
