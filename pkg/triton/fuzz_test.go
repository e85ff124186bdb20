package triton

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/types/dynamicpb"
)

// FuzzConfig reads arbitrary configurations: that must neither panic nor take long, and the places found must fit the values
// found.
func FuzzConfig(f *testing.F) {
	models, err := txtar.ParseFile("testdata/models.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range models.Files {
		if filepath.Base(file.Name) == configName {
			f.Add(file.Data)
		}
	}
	for _, seed := range []string{
		"a{a{a{", "name:\"x", "[a.b/c]{x:1}", "dims:[1,,2]", "input<name:'a'\"b\">", "parameters{key:\"${a}\"", "#", "a:-", "\xff\xfe",
		"name:\"\\", "version_policy{specific{versions:[-9223372036854775808]}}", "max_batch_size:0x10;input:[]", "input[{},{}]output{}",
		"ensemble_scheduling{step{model_name:\"a\"input_map{key:\"a\"value:\"b\"}output_map{key:\"c\"value:\"b\"}}}platform:\"ensemble\"",
	} {
		f.Add([]byte(seed))
	}
	dir := filepath.Join(f.TempDir(), "model")
	if err := os.MkdirAll(filepath.Join(dir, "1"), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), configName)
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		r, err := Check(context.Background(), dir, Options{ConfigFile: file})
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("%d bytes took %v", len(text), took)
		}
		for _, found := range r.Findings {
			if found.Line < 0 || found.Col < 0 || found.Text == "" || found.Advice == "" {
				t.Errorf("a finding without place, text or advice: %+v", found)
			}
		}
		checkScan(t, text)
	})
}

// checkScan compares the fields that the scanner finds with those that prototext finds, in texts that it accepts.
func checkScan(t *testing.T, text []byte) {
	t.Helper()
	fields, s := scan(text)
	msg := dynamicpb.NewMessage(configDescriptor())
	if s.deep || (prototext.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, msg) != nil {
		return
	}
	if s.broken {
		t.Errorf("the scanner gave up on %q, which prototext accepts", text)
	}
	bind(fields, configSchema().messages["ModelConfig"], msg)
	checkBound(t, fields, text)
}

func checkBound(t *testing.T, fields []*field, text []byte) {
	t.Helper()
	for _, f := range fields {
		switch {
		case f.of == nil || f.empty:
		case f.isMessage:
			checkBound(t, f.fields, text)
		case !f.value.IsValid():
			t.Errorf("%s at %d:%d has no value in %q", f.name, f.line, f.col, text)
		}
	}
}
