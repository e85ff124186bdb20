package manifest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

func TestCheckJSON(t *testing.T) {
	names := []string{"layers", "digest"}
	for name, c := range map[string]struct{ raw, says string }{
		"object":              {`{"layers":[{"digest":"a"},{"digest":"b"}],"x":{"a":1,"A":2}}`, ""},
		"number":              {` 1 `, ""},
		"same key elsewhere":  {`{"a":{"b":1},"b":{"b":2}}`, ""},
		"deep foreign case":   {`{"a":{"b":{"Layers":1}}}`, ""},
		"key twice":           {`{"layers":[],"layers":[1]}`, `"layers" twice`},
		"key twice, escaped":  {`{"layers":[],"l\u0061yers":[1]}`, `"layers" twice`},
		"key twice, deep":     {`{"a":[[{"b":1,"b":2}]]}`, `"b" twice`},
		"key of other case":   {`{"Layers":[]}`, `"Layers", which is not "layers"`},
		"key folds to ours":   {`{"layer\u017f":[]}`, `which is not "layers"`},
		"other case in array": {`{"layers":[{"DIGEST":1}]}`, `"DIGEST", which is not "digest"`},
		"two values":          {`{} {}`, "behind its end"},
		"rubbish behind":      {`{}x`, "behind its end"},
		"nothing":             {``, "not JSON"},
		"cut":                 {`{"a":[1,`, "not JSON"},
		"cut in an object":    {`{"a":1`, "not JSON"},
		"no key":              {`{1:2}`, "not JSON"},
		"wrong closing":       {`{"a":[1}`, "not JSON"},
		"deep":                {strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), ""},
		"too deep":            {strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1), "deeper than"},
		"many items":          {"[" + strings.Repeat("0,", maxItems-1) + "0]", ""},
		"too many items":      {"[" + strings.Repeat("0,", maxItems) + "0]", "more than 65536 items"},
		"too many keys":       {"{" + manyKeys(maxItems+1) + "}", "more than 65536 items"},
		"too many values":     {"[" + strings.Repeat("["+strings.Repeat("0,", maxItems-1)+"0],", 16) + "0]", "more than 1048576 values"},
		"far too deep":        {strings.Repeat("[", 1<<20), "deeper than"},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckJSON([]byte(c.raw), names...)
			switch {
			case c.says == "" && err != nil, c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%v, want %q", err, c.says)
			case err != nil && KindOf(err) != KindMalformed:
				t.Errorf("it is %s", KindOf(err))
			}
		})
	}
}

func manyKeys(n int) string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("\"%d\":0", i)
	}
	return strings.Join(keys, ",")
}

// TestDocumentBomb sees that a document of nothing does not become large.
func TestDocumentBomb(t *testing.T) {
	raw := []byte(`{"layers":[` + strings.Repeat("{},", MaxDocument/3) + `{}]}`)
	var was, is runtime.MemStats
	runtime.ReadMemStats(&was)
	if _, err := ParseDocument(raw, ""); KindOf(err) != KindMalformed {
		t.Errorf("it says %v", err)
	}
	runtime.ReadMemStats(&is)
	if used := is.TotalAlloc - was.TotalAlloc; used > 100<<20 {
		t.Errorf("it took %d bytes", used)
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":{"digest":"sha256:` + strings.Repeat("0", 64) + `","size":3},"layers":[]}`))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + strings.Repeat("f", 64) + `","size":3,"annotations":{"a":"b"}}]}`))
	f.Add([]byte(`{"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("7", 64) + `"]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := ParseConfig(raw); err == nil {
			for _, d := range c.RootFS.DiffIDs {
				if CheckDigest(d) != nil {
					t.Errorf("let %q through", d)
				}
			}
		}
		d, err := ParseDocument(raw, "")
		if err != nil {
			return
		}
		if (d.Config == nil) == (d.Manifests == nil) {
			t.Error("let a document through that is neither or both")
		}
		for _, l := range append(d.Layers, d.Manifests...) {
			if CheckDigest(l.Digest) != nil || l.Size < 0 {
				t.Errorf("let %q, %d bytes, through", l.Digest, l.Size)
			}
		}
	})
}
