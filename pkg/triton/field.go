package triton

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// field is one field of a configuration, an element of a list counting as a field of its own. The methods work on a nil
// field, which stands for one that is not given.
type field struct {
	name      string
	line, col int // of the name, or of the element in a list; from 1

	text      string // of a scalar, as it is written
	isMessage bool
	empty     bool     // an empty list
	fields    []*field // of a message
	byName    map[string][]*field

	of    *spec              // nil for one that is not in the table
	value protoreflect.Value // of a scalar that is in the table
}

// bind gives the fields of message msg, of type m, their values, and everything in the table its place in it.
func bind(fields []*field, m *message, msg protoreflect.Message) {
	seen := map[string]int{}
	for _, f := range fields {
		f.of = m.field(f.name)
		if f.of == nil || f.empty {
			continue
		}
		d := msg.Descriptor().Fields().ByName(protoreflect.Name(f.name))
		v := msg.Get(d)
		if d.IsList() {
			n := seen[f.name]
			if n >= v.List().Len() {
				continue
			}
			seen[f.name], v = n+1, v.List().Get(n)
		}
		if d.Message() != nil {
			bind(f.fields, configSchema().messages[f.of.typ], v.Message())
			continue
		}
		f.value = v
		if d.Enum() != nil {
			f.text = enumText(d.Enum(), v.Enum(), f.text)
		}
	}
}

// enumText is the name of value n, which may be written as a number.
func enumText(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber, written string) string {
	if v := d.Values().ByNumber(n); v != nil {
		return string(v.Name())
	}
	return written
}

// all returns the fields called name, in order; empty lists do not count.
func (f *field) all(name string) []*field {
	if f == nil {
		return nil
	}
	if f.byName == nil {
		f.byName = map[string][]*field{}
		for _, k := range f.fields {
			if !k.empty {
				f.byName[k.name] = append(f.byName[k.name], k)
			}
		}
	}
	return f.byName[name]
}

// get returns the field that path leads to, names joined by dots, the first of several; nil when there is none.
func (f *field) get(path string) *field {
	for _, name := range strings.Split(path, ".") {
		found := f.all(name)
		if len(found) == 0 {
			return nil
		}
		f = found[0]
	}
	return f
}

// has reports whether the field that path leads to is given.
func (f *field) has(path string) bool { return f.get(path) != nil }

// str is the value of a string field below f, "" when it is not given.
func (f *field) str(path string) string {
	if k := f.get(path); k != nil {
		if s, ok := k.value.Interface().(string); ok {
			return s
		}
	}
	return ""
}

// word is the value of an enumeration below f, "" when it is not given.
func (f *field) word(path string) string {
	if k := f.get(path); k != nil {
		return k.text
	}
	return ""
}

// truth is the value of a bool field below f, false when it is not given.
func (f *field) truth(path string) bool {
	k := f.get(path)
	if k == nil {
		return false
	}
	b, _ := k.value.Interface().(bool)
	return b
}

// num is the value of an integer field below f, 0 when it is not given.
func (f *field) num(path string) int64 { return f.get(path).int() }

// int is the value of f, an integer.
func (f *field) int() int64 {
	if f == nil {
		return 0
	}
	switch v := f.value.Interface().(type) {
	case int32:
		return int64(v)
	case int64:
		return v
	case uint32:
		return int64(v)
	case uint64:
		return int64(min(v, 1<<63-1))
	}
	return 0
}

// string is the value of f, a string.
func (f *field) string() string {
	if f == nil {
		return ""
	}
	s, _ := f.value.Interface().(string)
	return s
}

// pairs are the entries of a map of strings, in order.
func (f *field) pairs(name string) (keys []string, values []*field) {
	for _, e := range f.all(name) {
		keys, values = append(keys, e.str("key")), append(values, e.get("value"))
	}
	return keys, values
}
