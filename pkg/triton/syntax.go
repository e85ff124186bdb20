package triton

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/types/dynamicpb"
)

var byteOrderMark = []byte("\xEF\xBB\xBF")

// parse reads text, notes what is wrong with it as a text, and returns its fields below one field without a name. It
// returns nil when a server would not get any further.
func (c *checker) parse(text []byte) *field {
	if bytes.HasPrefix(text, byteOrderMark) {
		c.refuse(RuleConfigBOM, place{file: c.file, line: 1, col: 1}, "the file begins with a byte order mark, which Triton does not understand").
			advise("save it as UTF-8 without a byte order mark (BOM)")
		text = text[len(byteOrderMark):]
	}
	if bytes.HasPrefix(text, []byte("\xFF\xFE")) || bytes.HasPrefix(text, []byte("\xFE\xFF")) {
		c.refuse(RuleConfigSyntax, place{file: c.file, line: 1, col: 1}, "the file is written in UTF-16, which Triton does not understand").
			advise("save it as UTF-8 without a byte order mark (BOM); PowerShell writes UTF-16 unless it is told otherwise")
		return nil
	}
	fields, scan := scan(text)
	root := &field{isMessage: true, fields: fields}
	if scan.deep {
		c.refuse(RuleConfigSyntax, place{file: c.file, line: scan.line, col: 1}, "brackets lie deeper in each other than in any configuration").
			advise("close the brackets, or is this the right file?")
		return nil
	}
	if c.checkTemplate(text) {
		return nil
	}
	msg := dynamicpb.NewMessage(configDescriptor())
	err := prototext.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, msg)
	if err != nil {
		c.syntaxError(text, err)
		return nil
	}
	bind(fields, configSchema().messages["ModelConfig"], msg)
	c.checkKnown(fields, "ModelConfig")
	return root
}

var templateMark = regexp.MustCompile(`\$\{[^}\n]*\}?`)

// checkTemplate looks for ${…} that nobody filled in, and reports whether the text is no configuration because of it.
// Within quotes it may be meant: some backends take such a parameter as not given.
func (c *checker) checkTemplate(text []byte) bool {
	var quoted *Finding
	for n, line := range strings.Split(string(text), "\n") {
		found := templateMark.FindStringIndex(line)
		if found == nil || strings.Contains(line[:found[0]], "#") {
			continue
		}
		before, mark := line[:found[0]], line[found[0]:found[1]]
		at := place{file: c.file, line: n + 1, col: len([]rune(before)) + 1}
		switch {
		case strings.Count(before, `"`)%2 == 0 && strings.Count(before, `'`)%2 == 0:
			c.refuse(RuleConfigTemplate, at, "%s was never filled in: this is a template, not a configuration", mark).
				advise("fill in the template first")
			return true
		case quoted == nil:
			quoted = c.warn(RuleConfigTemplate, at, "%s was never filled in", mark)
			quoted.advise("put the value in its place, unless the backend is meant to read it")
		default:
			quoted.advise("put the values in their places, here and below, unless the backend is meant to read them")
		}
	}
	return false
}

var syntaxPlace = regexp.MustCompile(`(?s)\(line (\d+):(\d+)\): (.*)$`)

// placeOf takes line, column and message out of an error of prototext.
func (c *checker) placeOf(text []byte, err error) (place, string) {
	m := syntaxPlace.FindStringSubmatch(err.Error())
	if m == nil {
		return place{file: c.file, line: bytes.Count(text, []byte("\n")) + 1, col: 1}, "the file ends in the middle: a bracket or a quotation mark is not closed"
	}
	line, _ := strconv.Atoi(m[1])
	col, _ := strconv.Atoi(m[2])
	return place{file: c.file, line: line, col: col}, clipped(strings.TrimSpace(m[3]), 120)
}

// clipped keeps a text that quotes a file down to n characters.
func clipped(s string, n int) string {
	if len(s) <= n {
		return s
	}
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// syntaxError notes what prototext has against text, in other words where they are known.
func (c *checker) syntaxError(text []byte, err error) {
	at, message := c.placeOf(text, err)
	for _, e := range syntaxErrors {
		if m := e.form.FindStringSubmatch(message); m != nil {
			why, advice := e.say(text, at, m)
			c.refuse(RuleConfigSyntax, at, "%s", why).advise("%s", advice)
			return
		}
	}
	c.refuse(RuleConfigSyntax, at, "Triton cannot read this: %s", message).advise("correct the file at this place")
}

// syntaxError is a message of prototext by its form, and how it is put.
type syntaxError struct {
	form *regexp.Regexp
	say  func(text []byte, at place, m []string) (why, advice string)
}

// syntaxErrors are the messages of prototext, and what they mean to somebody who writes a configuration.
var syntaxErrors = []syntaxError{
	{regexp.MustCompile(`^invalid value for enum type: (.*)`), sayEnum},
	{regexp.MustCompile(`^invalid value for string type: (.*)`), func(_ []byte, _ place, m []string) (string, string) {
		return fmt.Sprintf("%s is a text, and texts stand in quotation marks", m[1]), fmt.Sprintf("write %q", m[1])
	}},
	{regexp.MustCompile(`^invalid value for bool type: (.*)`), func(_ []byte, _ place, m []string) (string, string) {
		return fmt.Sprintf("%s is neither true nor false", m[1]), "write true or false"
	}},
	{regexp.MustCompile(`^invalid value for (?:u?int32|u?int64) type: (.*)`), func(_ []byte, _ place, m []string) (string, string) {
		return fmt.Sprintf("%s is no whole number that fits here", m[1]), "write a whole number, without quotation marks"
	}},
	{regexp.MustCompile(`^invalid value for (?:float|double) type: (.*)`), func(_ []byte, _ place, m []string) (string, string) {
		return fmt.Sprintf("%s is no number", m[1]), "write a number, without quotation marks"
	}},
	{regexp.MustCompile(`^non-repeated field "(.*)" is repeated`), func(_ []byte, _ place, m []string) (string, string) {
		return fmt.Sprintf("%s is given twice, and may be given once only", m[1]), "remove one of the two"
	}},
	{regexp.MustCompile(`^error parsing "(.*)", oneof \S+\.(\S+) is already set`), sayGroup},
	{regexp.MustCompile(`^missing field separator`), func([]byte, place, []string) (string, string) {
		return "there is no colon between the name and its value", "write NAME: VALUE; only before an opening { may the colon be left out"
	}},
	{regexp.MustCompile(`^invalid scalar value: ([\]}>,])`), sayClosing},
	{regexp.MustCompile(`^invalid scalar value: (.*)`), func(_ []byte, _ place, m []string) (string, string) {
		return fmt.Sprintf("%s is no value", m[1]), "write a number, a name such as TYPE_FP32, or a text in quotation marks"
	}},
	{regexp.MustCompile(`^invalid field name: ([\]}>])`), func(_ []byte, _ place, m []string) (string, string) {
		return fmt.Sprintf("the %s closes nothing", m[1]), "remove it, or look for the opening bracket that is missing"
	}},
	{regexp.MustCompile(`^unexpected character`), func([]byte, place, []string) (string, string) {
		return "a comma is missing between two elements of a list", "separate the elements by commas"
	}},
	{regexp.MustCompile(`^unexpected token: ([{<])`), func([]byte, place, []string) (string, string) {
		return "here stands a group in braces, where a single value is wanted", "write the value alone"
	}},
	{regexp.MustCompile(`^unexpected token: (.*)`), func(_ []byte, _ place, m []string) (string, string) {
		return fmt.Sprintf("here stands %s, where a group in braces is wanted", m[1]), "write { … } with the fields of the group in it"
	}},
	{regexp.MustCompile(`^invalid UTF-8`), func([]byte, place, []string) (string, string) {
		return "the file is not UTF-8", "save it as UTF-8"
	}},
}

// typeAliases are what data types are called elsewhere.
var typeAliases = map[string]string{
	"FLOAT": "TYPE_FP32", "FLOAT32": "TYPE_FP32", "FLOAT16": "TYPE_FP16", "HALF": "TYPE_FP16", "DOUBLE": "TYPE_FP64", "FLOAT64": "TYPE_FP64",
	"INT": "TYPE_INT32", "LONG": "TYPE_INT64", "BYTE": "TYPE_UINT8", "BYTES": "TYPE_STRING", "BOOLEAN": "TYPE_BOOL", "BFLOAT16": "TYPE_BF16",
}

// sayEnum finds the enumeration by the name before the value.
func sayEnum(text []byte, at place, m []string) (why, advice string) {
	why = fmt.Sprintf("%s is no value that Triton knows here", m[1])
	e := enumBefore(text, at)
	if e == nil {
		return why, "look up the values of this field in Triton's documentation"
	}
	word := strings.Trim(m[1], `"'`)
	if t := typeAliases[strings.TrimPrefix(word, "TYPE_")]; t != "" && e.name == "DataType" {
		return why, fmt.Sprintf("did you mean %s?", t)
	}
	if best := nearest(word, e.names()); best != "" {
		return why, fmt.Sprintf("did you mean %s?", best)
	}
	names := e.names()
	if names[0] == "TYPE_INVALID" {
		names = names[1:]
	}
	return why, "write one of " + strings.Join(names, ", ")
}

var nameBefore = regexp.MustCompile(`(\w+)\s*:\s*\[?[\s\w,]*$`)

// enumBefore is the enumeration of the field whose value stands at a place; names of such fields mean the same everywhere
// but for kind.
func enumBefore(text []byte, at place) *enum {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if at.line > len(lines) {
		return nil
	}
	line := []rune(string(lines[at.line-1]))
	before := string(bytes.Join(lines[:at.line-1], nil)) + string(line[:min(at.col-1, len(line))])
	m := nameBefore.FindStringSubmatch(before)
	if m == nil {
		return nil
	}
	if m[1] == "kind" {
		return configSchema().enums["InstanceKind"]
	}
	for _, name := range configSchema().order {
		if f := configSchema().messages[name].field(m[1]); f != nil && configSchema().enums[f.typ] != nil {
			return configSchema().enums[f.typ]
		}
	}
	return nil
}

// sayGroup names the fields that exclude each other.
func sayGroup(_ []byte, _ place, m []string) (why, advice string) {
	for _, name := range configSchema().order {
		var group []string
		for _, f := range configSchema().messages[name].all() {
			if f.group == m[2] {
				group = append(group, f.name)
			}
		}
		if len(group) > 0 {
			return fmt.Sprintf("only one of %s can be given, and %s is the second", strings.Join(group, ", "), m[1]), "remove one of them"
		}
	}
	return fmt.Sprintf("%s cannot be given together with what stands before it", m[1]), "remove one of them"
}

func sayClosing(text []byte, at place, m []string) (why, advice string) {
	lines := bytes.SplitAfter(text, []byte("\n"))
	line := []rune(string(lines[min(at.line, len(lines))-1]))
	before := string(bytes.Join(lines[:at.line-1], nil)) + string(line[:min(at.col-1, len(line))])
	if m[1] != "," && strings.HasSuffix(strings.TrimSpace(before), ",") {
		return fmt.Sprintf("a comma stands before the closing %s", m[1]), "remove the comma"
	}
	return fmt.Sprintf("a value is missing before the %s", m[1]), "write the value"
}
