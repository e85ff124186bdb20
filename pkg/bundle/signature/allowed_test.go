package signature

import (
	"strings"
	"testing"
)

// TestBrokenLines: each makes the whole file an error that names file and line, wherever it stands.
func TestBrokenLines(t *testing.T) {
	for _, tt := range []struct{ line, says string }{
		{"rel", "no type of key"},
		{"<maker>", "public key alone"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----", "a line reads NAME"},
		{"rel ssh-ed25519", "key is missing"},
		{"rel ssh-ed25519 !!!!", "not whole"},
		{"rel ssh-ed25519 AAAA", "cannot be read"},
		{"rel ssh-ed25519 " + strings.Fields(fill("<rsa>"))[1], "the key is ssh-rsa"},
		{"rel ssh-new-kind " + strings.Fields(fill("<maker>"))[1], "the key is ssh-ed25519"},
		{"rel " + fill("<maker>")[:60], "cannot be read"},
		{"rel " + fill("<maker>")[:59], "not whole"},
		{"rel <dsa>", "DSA"},
		{"rel <weak>", "1024 bits"},
		{",rel <maker>", "empty principal"},
		{"rel,! <maker>", "empty principal"},
		{`"" <maker>`, "empty principal"},
		{`"rel <maker>`, "does not end"},
		{`"rel"x <maker>`, "does not end"},
		{`re"l" <maker>`, "quote inside"},
		{"rel sometimes <maker>", "not known"},
		{"rel no-cert-authority <maker>", "not known"},
		{`rel cert-authority="yes" <maker>`, "not written so"},
		{"rel namespaces <maker>", "not written so"},
		{"rel namespaces=file <maker>", "in quotes"},
		{`rel namespaces="file <maker>`, "does not end"},
		{`rel namespaces="a",namespaces="b" <maker>`, "twice"},
		{`rel namespaces="a",NameSpaces="b" <maker>`, "twice"},
		{`rel valid-after="20260101",valid-after="20260102" <maker>`, "twice"},
		{`rel valid-after="soon" <maker>`, "not a time"},
		{`rel valid-before="" <maker>`, "not a time"},
		{`rel valid-before="20260101Z",valid-after="20260101Z" <maker>`, "not after"},
		{`rel namespaces="a", <maker>`, "comma"},
		{`rel ,namespaces="a" <maker>`, "not known"},
		{`rel namespaces="a"cert-authority <maker>`, "comma"},
		{`rel namespaces="a" cert-authority <maker>`, "no type of key"},
		{"rel\x00 <maker>", "control character"},
		{"rel <maker>\x1b[2J", "control character"},
		{"\ufeffrel <maker>", "byte order mark"},
		{"rel <maker> " + strings.Repeat("x", maxLine), "longer than"},
	} {
		text := fill("rel <other>\n# comment\n" + tt.line + "\nrel <other>\n")
		_, err := ParseAllowedSigners(strings.NewReader(text), "FILE")
		if err == nil || !strings.HasPrefix(err.Error(), "FILE:3: ") || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%.60q: %v; want %q", tt.line, err, tt.says)
		}
	}
	if _, err := ParseAllowedSigners(strings.NewReader(strings.Repeat("#\n", maxAllowed/2+1)), "FILE"); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("too large: %v", err)
	}
}

// FuzzAllowedSigners: whatever a file holds, reading it ends, and what is read back from its own words is the same.
func FuzzAllowedSigners(f *testing.F) {
	for _, text := range allowedFiles {
		f.Add(fill(text))
	}
	for _, text := range []string{`"a b",!c namespaces="x\"y,z",valid-before="20260101Z",cert-authority `, "\r\n\t#", `rel x="`, "\xff\xfe"} {
		f.Add(text + fill("<maker>"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAllowedSigners(strings.NewReader(text), "FILE")
		if err != nil {
			if a != nil || !strings.HasPrefix(err.Error(), "FILE") {
				t.Fatalf("%v, %v", a, err)
			}
			return
		}
		if len(a.lines) > strings.Count(text, "\n")+1 {
			t.Fatal("more lines than there are")
		}
		for _, l := range a.lines {
			again, err := ParseAllowedSigners(strings.NewReader(l.text()), "FILE")
			if err != nil || len(again.lines) != 1 || again.lines[0].text() != l.text() {
				t.Fatalf("%q was read from %q; read again: %+v, %v", l.text(), text, again, err)
			}
			l.judge(question{key: l.key, namespace: space, at: day("20260601Z")})
		}
	})
}

// text writes a line in one way.
func (l signerLine) text() string {
	var options []string
	if l.authority {
		options = append(options, "cert-authority")
	}
	if l.namespaces != nil {
		options = append(options, `namespaces="`+strings.ReplaceAll(*l.namespaces, `"`, `\"`)+`"`)
	}
	if !l.after.IsZero() {
		options = append(options, l.after.UTC().Format(`valid-after="20060102150405Z"`))
	}
	if !l.before.IsZero() {
		options = append(options, l.before.UTC().Format(`valid-before="20060102150405Z"`))
	}
	return `"` + l.principals + `" ` + strings.Join(options, ",") + " " + strings.TrimSpace(armorOf(l.key))
}
