package triton

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
)

//go:embed fields.txt
var fieldTable string

// schema is fields.txt, read.
type schema struct {
	messages map[string]*message
	enums    map[string]*enum
	order    []string // names of all messages and enumerations as the file has them
}

type message struct {
	name   string
	fields []*spec
}

// spec says what a field is.
type spec struct {
	name  string
	typ   string // a scalar type, or the name of a message or enumeration
	many  bool
	group string // of which only one field may be given; empty for none
	span
}

type enum struct {
	name   string
	values []*enumValue
}

type enumValue struct {
	name string
	span
}

// span tells which servers know something: up to absent none, from since on all; of those between it is not known.
type span struct{ absent, since ServerVersion }

// configSchema is the table that the package was built with.
var configSchema = sync.OnceValue(func() *schema {
	s, err := readSchema(fieldTable)
	if err != nil {
		panic("triton: fields.txt: " + err.Error()) // TestFieldTable would have noticed
	}
	return s
})

func readSchema(text string) (*schema, error) {
	s := &schema{messages: map[string]*message{}, enums: map[string]*enum{}}
	var m *message
	var e *enum
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		var err error
		switch {
		case len(words) == 0:
		case words[0] == "message" && len(words) == 2:
			m, e = &message{name: words[1]}, nil
			s.messages[m.name], s.order = m, append(s.order, m.name)
		case words[0] == "enum" && len(words) == 2:
			m, e = nil, &enum{name: words[1]}
			s.enums[e.name], s.order = e, append(s.order, e.name)
		case m != nil && len(words) >= 2:
			err = s.addField(m, words)
		case e != nil:
			v := &enumValue{name: words[0]}
			e.values = append(e.values, v)
			_, err = v.read(words[1:])
		default:
			err = fmt.Errorf("neither message nor enum")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return s, nil
}

// addField adds the field that words describe: TYPE NAME [NOTE...].
func (s *schema) addField(m *message, words []string) error {
	f := &spec{name: words[1]}
	f.typ, f.many = strings.CutSuffix(words[0], "*")
	if key, value, ok := strings.Cut(f.typ, ">"); ok {
		f.typ = s.entry(key, value)
	}
	m.fields = append(m.fields, f)
	var err error
	f.group, err = f.read(words[2:])
	return err
}

// entry returns the name of the message that an entry of a map is written as: its key and its value.
func (s *schema) entry(key, value string) string {
	name := "Entry_" + key + "_" + value
	if s.messages[name] == nil {
		s.messages[name] = &message{name: name, fields: []*spec{{name: "key", typ: key}, {name: "value", typ: value}}}
		s.order = append(s.order, name)
	}
	return name
}

// read reads the notes that stand behind a name and returns the group among them.
func (s *span) read(notes []string) (group string, err error) {
	for len(notes) >= 2 && err == nil {
		switch notes[0] {
		case "one":
			group = notes[1]
		case "since":
			s.since, err = ParseServerVersion(notes[1])
		case "not":
			s.absent, err = ParseServerVersion(notes[1])
		default:
			err = fmt.Errorf("unknown note %q", notes[0])
		}
		notes = notes[2:]
	}
	if len(notes) > 0 && err == nil {
		err = fmt.Errorf("%q is half a note", notes[0])
	}
	return group, err
}

// field finds the field called name; nil when m has none, and when m itself is nil.
func (m *message) field(name string) *spec {
	for _, f := range m.all() {
		if f.name == name {
			return f
		}
	}
	return nil
}

// all returns the fields of m, which may be nil.
func (m *message) all() []*spec {
	if m == nil {
		return nil
	}
	return m.fields
}

// names are those of all fields.
func (m *message) names() []string {
	var n []string
	for _, f := range m.all() {
		n = append(n, f.name)
	}
	return n
}

func (e *enum) value(name string) *enumValue {
	for _, v := range e.values {
		if v.name == name {
			return v
		}
	}
	return nil
}

func (e *enum) names() []string {
	var n []string
	for _, v := range e.values {
		n = append(n, v.name)
	}
	return n
}
