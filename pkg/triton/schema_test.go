package triton

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/types/dynamicpb"
)

// TestFieldTable wants fields.txt to be whole: every type is known, every message used, every value a name of its own.
func TestFieldTable(t *testing.T) {
	s, err := readSchema(fieldTable)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.describe(); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{"ModelConfig": true}
	for _, m := range s.messages {
		for _, f := range m.fields {
			used[f.typ] = true
			_, scalar := scalarTypes[f.typ]
			if !scalar && s.messages[f.typ] == nil && s.enums[f.typ] == nil {
				t.Errorf("%s.%s has the unknown type %s", m.name, f.name, f.typ)
			}
			if !f.absent.IsZero() && !f.absent.Before(f.since) {
				t.Errorf("%s.%s is unknown until %s and known since %s", m.name, f.name, f.absent, f.since)
			}
		}
	}
	for _, name := range s.order {
		if !used[name] {
			t.Errorf("nothing uses %s", name)
		}
	}
	// What 19.08 knows of a model.
	var first []string
	for _, f := range s.messages["ModelConfig"].fields {
		if f.since.IsZero() {
			first = append(first, f.name)
		}
	}
	slices.Sort(first)
	want := []string{
		"cc_model_filenames", "default_model_filename", "dynamic_batching", "ensemble_scheduling", "input", "instance_group", "max_batch_size",
		"metric_tags", "name", "optimization", "output", "parameters", "platform", "sequence_batching", "version_policy",
	}
	if !slices.Equal(first, want) {
		t.Errorf("19.08 knows %v, want %v", first, want)
	}
}

func TestBadFieldTables(t *testing.T) {
	for _, text := range []string{
		"string name", "message M\n  string", "message M\n  string a since", "message M\n  string a since never", "message M\n  string a until 22.12", "enum E\n  A since x",
	} {
		if _, err := readSchema(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// TestSyntaxWords wants every message of prototext that a configuration can cause to be put in words of our own.
func TestSyntaxWords(t *testing.T) {
	for _, text := range []string{
		`name: liver`, `max_batch_size: "1"`, `max_batch_size: 1.5`, `input { is_shape_tensor: 2 }`, `sequence_batching { direct { minimum_slot_utilization: x } }`,
		`input { data_type: X }`, `max_batch_size: 1 max_batch_size: 2`, `dynamic_batching { } sequence_batching { }`, `max_batch_size 1`, `input { dims: [ 1, ] }`,
		`input { dims: [ , ] }`, `}`, `input { dims: [ 1 2 ] }`, `name: { }`, `input: 3`, "name: \"\xff\"",
	} {
		err := prototext.UnmarshalOptions{DiscardUnknown: true}.Unmarshal([]byte(text), dynamicpb.NewMessage(configDescriptor()))
		if err == nil {
			t.Errorf("%s: prototext accepts it", text)
			continue
		}
		c := &checker{}
		_, message := c.placeOf([]byte(text), err)
		if !slices.ContainsFunc(syntaxErrors, func(e syntaxError) bool { return e.form.MatchString(message) }) {
			t.Errorf("%s: no words for %q", text, message)
		}
	}
}

func TestReadVersion(t *testing.T) {
	for _, tt := range []struct {
		name   string
		number int64
		kind   versionKind
	}{
		{"1", 1, versionGood}, {"0", 0, versionGood}, {"10", 10, versionGood}, {"9223372036854775807", 1<<63 - 1, versionGood},
		{"01", 0, versionZero}, {"00", 0, versionZero}, {"0x1", 0, versionZero}, {"0.tmp", 0, versionZero},
		{"1.tmp", 1, versionJunk}, {"2_old", 2, versionJunk}, {"1~", 1, versionJunk}, {" 3", 3, versionJunk}, {"-1", -1, versionJunk},
		{"+2", 2, versionJunk}, {"\t4 ", 4, versionJunk}, {"1 ", 1, versionJunk}, {" 01", 1, versionJunk},
		{"v1", 0, versionNone}, {".1", 0, versionNone}, {".staging", 0, versionNone}, {"configs", 0, versionNone}, {"-", 0, versionNone},
		{"", 0, versionNone}, {"--1", 0, versionNone}, {"١", 0, versionNone},
		{"9223372036854775808", 0, versionRange}, {"99999999999999999999", 0, versionRange}, {"99999999999999999999.tmp", 0, versionRange},
	} {
		number, kind := readVersion(tt.name)
		if kind != tt.kind || (kind != versionRange && number != tt.number) {
			t.Errorf("%q is %d (%d), want %d (%d)", tt.name, number, kind, tt.number, tt.kind)
		}
	}
}
