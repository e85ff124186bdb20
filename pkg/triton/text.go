package triton

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep messages may lie in each other; Triton's own configuration needs 8.
const maxDepth = 32

// scanner finds where the fields of a text proto stand. It does not judge the text: prototext does, which tells no places of
// what it accepts. What the scanner finds in a text that prototext refuses need not make sense.
type scanner struct {
	text []byte
	pos  int

	line, lineStart  int // of pos; lines count from 1
	column, columnAt int // of a place in that line, up to which characters were counted

	broken bool // the text ended or went astray in the middle of something
	deep   bool // messages lie deeper than maxDepth; nothing below was read
}

// scan returns the fields of text, those of messages below their fields.
func scan(text []byte) ([]*field, *scanner) {
	s := &scanner{text: text, line: 1}
	fields := s.fields(0, 0)
	return fields, s
}

// fields reads up to the closing bracket end, or to the end of the text for 0.
func (s *scanner) fields(end byte, depth int) []*field {
	var all []*field
	for !s.broken {
		s.space()
		for s.take(',') || s.take(';') {
			s.space()
		}
		if s.pos >= len(s.text) {
			s.broken = end != 0
			break
		}
		if end != 0 && s.take(end) {
			break
		}
		all = append(all, s.field(depth)...)
	}
	return all
}

// field reads a name and its value; a list gives a field for each element.
func (s *scanner) field(depth int) []*field {
	f := s.here()
	f.name = s.name()
	if f.name == "" {
		s.broken = true
		return nil
	}
	s.space()
	s.take(':')
	s.space()
	if !s.take('[') {
		s.value(f, depth)
		return []*field{f}
	}
	return s.list(f, depth)
}

// list reads the elements up to the closing bracket. An empty list gives one field that is empty.
func (s *scanner) list(f *field, depth int) []*field {
	var all []*field
	for !s.broken {
		s.space()
		for s.take(',') {
			s.space()
		}
		if s.take(']') {
			break
		}
		element := s.here()
		element.name = f.name
		s.value(element, depth)
		all = append(all, element)
	}
	if len(all) == 0 {
		f.empty = true
		return []*field{f}
	}
	return all
}

// value reads a message or a scalar.
func (s *scanner) value(f *field, depth int) {
	for _, pair := range []string{"{}", "<>"} {
		if !s.take(pair[0]) {
			continue
		}
		if depth+1 >= maxDepth {
			s.deep, s.broken = true, true
			return
		}
		f.isMessage = true
		f.fields = s.fields(pair[1], depth+1)
		return
	}
	start := s.pos
	for s.quoted() {
		f.text = string(s.text[start:s.pos])
		s.space()
	}
	if f.text != "" {
		return
	}
	minus := s.take('-')
	s.space()
	f.text = s.word()
	s.broken = s.broken || f.text == ""
	if minus {
		f.text = "-" + f.text
	}
}

// name reads the name of a field; one of an extension stands in brackets.
func (s *scanner) name() string {
	if !s.take('[') {
		return s.word()
	}
	n := bytes.IndexByte(s.text[s.pos:], ']')
	if n < 0 {
		return ""
	}
	name := "[" + string(s.text[s.pos:s.pos+n+1])
	s.skip(n + 1)
	return name
}

// word reads up to the next space, bracket, quote or separator.
func (s *scanner) word() string {
	n := bytes.IndexAny(s.text[s.pos:], " \t\r\n{}<>[]:,;#\"'")
	if n < 0 {
		n = len(s.text) - s.pos
	}
	word := string(s.text[s.pos : s.pos+n])
	s.skip(n)
	return word
}

// quoted skips a string, if one begins here.
func (s *scanner) quoted() bool {
	if s.pos >= len(s.text) || (s.text[s.pos] != '"' && s.text[s.pos] != '\'') {
		return false
	}
	quote := s.text[s.pos]
	for n := s.pos + 1; n < len(s.text); n++ {
		switch s.text[n] {
		case '\\':
			n++
		case quote:
			s.skip(n + 1 - s.pos)
			return true
		}
	}
	s.broken = true
	return false
}

// space skips white space and comments.
func (s *scanner) space() {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			s.skip(1)
		case c == '#':
			n := bytes.IndexByte(s.text[s.pos:], '\n')
			if n < 0 {
				n = len(s.text) - s.pos
			}
			s.skip(n)
		default:
			return
		}
	}
}

// take skips c, if it stands here.
func (s *scanner) take(c byte) bool {
	if s.pos >= len(s.text) || s.text[s.pos] != c {
		return false
	}
	s.skip(1)
	return true
}

func (s *scanner) skip(n int) {
	for i := s.pos; i < s.pos+n; i++ {
		if s.text[i] == '\n' {
			s.line, s.lineStart = s.line+1, i+1
		}
	}
	s.pos += n
}

// here is a field that begins where the scanner stands.
func (s *scanner) here() *field {
	if s.columnAt < s.lineStart {
		s.column, s.columnAt = 0, s.lineStart
	}
	s.column += utf8.RuneCount(s.text[s.columnAt:s.pos])
	s.columnAt = s.pos
	return &field{line: s.line, col: s.column + 1}
}
