package triton_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/clara-push/clara-push/pkg/triton"
)

// contents are what models.txtar and the cases call by a name, because it is no text.
var contents = map[string]string{
	"@graphdef": "\x0a\x05\x0a\x03abc\x22\x03\x08\x9a\x01",
	"@onnx":     "\x08\x07\x12\x04test\x3a\x03\x0a\x01x\x42\x02\x10\x0d",
	"@saved":    "\x08\x01\x12\x03\x0a\x01x",
	"@zip":      "PK\x03\x04" + strings.Repeat("\x00", 26) + "PK\x05\x06" + strings.Repeat("\x00", 18),
	"@halfzip":  "PK\x03\x04" + strings.Repeat("\x00", 200),
	"@plan":     "ftrt\x00\x00\x00\x01\xfe",
	"@data":     "\x00\x01\x02\x03",
	"@elf":      "\x7fELF\x02\x01",
	"@gzip":     "\x1f\x8b\x08\x00\x00",
	"@pickle":   "\x80\x02}q\x00.",
	"@hdf":      "\x89HDF\r\n\x1a\n",
	"@halfonnx": "\x08\x07\x3a\xff\xff\x03abc",
	"@page":     "<!DOCTYPE html>\n<html><body>Sign in</body></html>\n",
	"@pointer":  "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
	"@utf16":    "\xff\xfen\x00a\x00m\x00e\x00:\x00",
	"@huge":     "# " + strings.Repeat("x", 1<<20),
	"@deep":     strings.Repeat("input {", 40),
	"@empty":    "",
}

// models are the correct models, each a tree of files by its path.
func models(t testing.TB) map[string]map[string]string {
	t.Helper()
	a, err := txtar.ParseFile("testdata/models.txtar")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]string{}
	for _, f := range a.Files {
		model, file, _ := strings.Cut(f.Name, "/")
		if all[model] == nil {
			all[model] = map[string]string{}
		}
		all[model][file] = string(f.Data)
	}
	return all
}

// put writes a file, or makes a directory for a path that ends with a slash.
func put(t testing.TB, root, file, content string) {
	t.Helper()
	p := filepath.Join(root, filepath.FromSlash(file))
	if strings.HasSuffix(file, "/") {
		must(t, os.MkdirAll(p, 0o755))
		return
	}
	must(t, os.MkdirAll(filepath.Dir(p), 0o755))
	if made, ok := contents[strings.TrimSpace(content)]; ok {
		content = made
	}
	must(t, os.WriteFile(p, []byte(content), 0o644))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// place writes the correct model called name into a repository and returns its directory.
func place(t testing.TB, repository, name string) string {
	t.Helper()
	files, ok := models(t)[name]
	if !ok {
		t.Fatalf("there is no correct model %s", name)
	}
	dir := filepath.Join(repository, name)
	for file, content := range files {
		put(t, dir, file, content)
	}
	return dir
}

// serverOf is what "# for V" in a configuration says.
func serverOf(t testing.TB, config string) triton.ServerVersion {
	t.Helper()
	line, _, _ := strings.Cut(config, "\n")
	version, ok := strings.CutPrefix(line, "# for ")
	if !ok {
		return triton.ServerVersion{}
	}
	v, err := triton.ParseServerVersion(version)
	must(t, err)
	return v
}

// TestCorrectModels wants a correct model of each kind to pass without any finding.
func TestCorrectModels(t *testing.T) {
	for name, files := range models(t) {
		t.Run(name, func(t *testing.T) {
			dir := place(t, t.TempDir(), name)
			known := func(model string) bool { return model == "onnx" || model == "torch" }
			r, err := triton.Check(context.Background(), dir, triton.Options{Version: serverOf(t, files["config.pbtxt"]), Present: known})
			must(t, err)
			for _, f := range r.Findings {
				t.Errorf("%s\n  → %s (%s)", f, f.Advice, f.Rule)
			}
			if r.Err(true) != nil {
				t.Errorf("refused: %v", r.Err(true))
			}
		})
	}
}

// kase is one case of testdata/cases: a correct model with a single mistake.
type kase struct {
	name  string
	at    string // file and line
	lines []string
}

// readCases reads the blocks of a file: "case NAME", then commands, up to the next case.
func readCases(t *testing.T, file string) []kase {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	var all []kase
	for n, line := range strings.Split(string(text), "\n") {
		name, ok := strings.CutPrefix(line, "case ")
		switch {
		case ok:
			all = append(all, kase{name: name, at: fmt.Sprintf("%s:%d", file, n+1)})
		case line == "" || line[0] == '#':
		case len(all) == 0 || line[0] != '\t':
			t.Fatalf("%s:%d: neither a case nor indented", file, n+1)
		default:
			all[len(all)-1].lines = append(all[len(all)-1].lines, line[1:])
		}
	}
	return all
}

// TestCases runs the cases in testdata/cases. Each says how a correct model is spoilt, and which findings that gives.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txt")
	must(t, err)
	total, rules := 0, map[triton.Rule]bool{}
	for _, file := range files {
		for _, k := range readCases(t, file) {
			total++
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+k.name, func(t *testing.T) {
				for _, r := range runCase(t, k) {
					rules[r] = true
				}
			})
		}
	}
	if total < 80 {
		t.Errorf("there are %d cases, and at least 80 are promised", total)
	}
	text, err := os.ReadFile("rules.go")
	must(t, err)
	for _, m := range regexp.MustCompile(`Rule = "(.*)"`).FindAllStringSubmatch(string(text), -1) {
		switch r := triton.Rule(m[1]); r {
		case triton.RuleTooMany, triton.RuleUnreadable: // need very many files, and another user
		default:
			if !rules[r] {
				t.Errorf("no case gives %s", r)
			}
		}
	}
	t.Logf("%d cases, %d rules", total, len(rules))
}

// stage is what the commands of a case work on.
type stage struct {
	root, dir string // the repository, and what is checked
	more      []string
	options   triton.Options
	want      []string
	advice    []string
}

func runCase(t *testing.T, k kase) []triton.Rule {
	s := &stage{root: t.TempDir()}
	for _, line := range k.lines {
		s.run(t, k, line)
	}
	reports, err := triton.CheckAll(context.Background(), append([]string{s.dir}, s.more...), s.options)
	must(t, err)
	var got, advice []string
	var rules []triton.Rule
	for _, r := range reports {
		for _, f := range r.Findings {
			rel, err := filepath.Rel(s.dir, f.File)
			must(t, err)
			there := textAt(t, f)
			f.File = filepath.ToSlash(rel)
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", f.Severity, f.Rule, f.Place(), there)))
			advice = append(advice, f.Text+" → "+f.Advice)
			rules = append(rules, f.Rule)
			if f.Text == "" || f.Advice == "" {
				t.Errorf("%s: %s: a finding needs a text and an advice: %+v", k.at, k.name, f)
			}
		}
	}
	slices.Sort(got)
	slices.Sort(s.want)
	if !slices.Equal(got, s.want) {
		t.Errorf("%s: %s\n got  %s\n want %s\n said %s", k.at, k.name, strings.Join(got, "\n      "), strings.Join(s.want, "\n      "), strings.Join(advice, "\n      "))
	}
	for _, a := range s.advice {
		if !strings.Contains(strings.Join(advice, "\n"), a) {
			t.Errorf("%s: %s: %q does not say %q", k.at, k.name, advice, a)
		}
	}
	return rules
}

// textAt is the word that stands where f points to.
func textAt(t *testing.T, f triton.Finding) string {
	t.Helper()
	if f.Line == 0 {
		return ""
	}
	text, err := os.ReadFile(f.File)
	must(t, err)
	lines := strings.Split(strings.ToValidUTF8(string(text), "?"), "\n")
	if f.Line > len(lines) || f.Col > len([]rune(lines[f.Line-1]))+1 {
		t.Errorf("%s is not in the file", f.Place())
		return ""
	}
	rest := strings.TrimPrefix(string([]rune(lines[f.Line-1])[f.Col-1:]), "\uFEFF")
	return regexp.MustCompile(`^(\$\{\w+\}|-?[\w."]+|\S?)`).FindString(rest)
}

// run carries out one command. Paths are below the model directory.
func (s *stage) run(t *testing.T, k kase, line string) {
	t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	first, second, _ := strings.Cut(rest, " ")
	p := func(file string) string { return filepath.Join(s.dir, filepath.FromSlash(file)) }
	switch word {
	case "base": // MODEL: begin with this one
		s.dir = place(t, s.root, first)
	case "with": // MODEL: check this one together with it
		s.more = append(s.more, place(t, s.root, first))
	case "beside": // NAME: check a copy of that name together with it
		s.more = append(s.more, filepath.Join(s.root, first))
		must(t, os.CopyFS(filepath.Join(s.root, first), os.DirFS(s.dir)))
	case "in": // PATH: check this directory instead
		s.dir = p(first)
	case "file": // PATH CONTENT
		put(t, s.dir, first, second+"\n")
	case "dir": // PATH
		put(t, s.dir, rest+"/", "")
	case "rm": // PATH
		must(t, os.RemoveAll(p(first)))
	case "mv": // FROM TO
		must(t, os.MkdirAll(filepath.Dir(p(second)), 0o755))
		must(t, os.Rename(p(first), p(second)))
	case "link": // PATH TARGET
		must(t, os.Symlink(second, p(first)))
	case "mode": // PATH MODE
		mode, err := strconv.ParseUint(second, 8, 32)
		must(t, err)
		must(t, os.Chmod(p(first), fs.FileMode(mode)))
	case "pipe": // PATH
		makePipe(t, p(first))
	case "sub": // OLD => NEW in config.pbtxt
		before, after, ok := strings.Cut(strings.ReplaceAll(rest, `\n`, "\n"), " => ")
		text, err := os.ReadFile(p("config.pbtxt"))
		must(t, err)
		if !ok || bytes.Count(text, []byte(before)) != 1 {
			t.Fatalf("%s: %q stands %d times in config.pbtxt", k.at, before, bytes.Count(text, []byte(before)))
		}
		put(t, s.dir, "config.pbtxt", strings.Replace(string(text), before, after, 1))
	case "add": // LINE at the end of config.pbtxt
		text, err := os.ReadFile(p("config.pbtxt"))
		must(t, err)
		put(t, s.dir, "config.pbtxt", string(text)+rest+"\n")
	case "for": // VERSION of the server
		v, err := triton.ParseServerVersion(first)
		must(t, err)
		s.options.Version = v
	case "name": // NAME that the model shall have
		s.options.Name = first
	case "config": // PATH that is read in place of config.pbtxt
		s.options.ConfigFile = p(path.Clean(first))
	case "host": // MODEL...: what is there already
		s.options.Present = func(m string) bool { return slices.Contains(strings.Fields(rest), m) }
	case "want": // SEVERITY RULE PLACE, and the word that stands there if it is a place in a file
		s.want = append(s.want, rest)
	case "says": // part of a text or an advice
		s.advice = append(s.advice, rest)
	default:
		t.Fatalf("%s: no command %q", k.at, word)
	}
}
