// Package pkg_test holds the rules about the packages below as a whole: who may import whom, and who may touch the
// process. ARCHITECTURE.md gives the reasons.
package pkg_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/clara-push/clara-push/"

// mayImport lists, for each of our packages or folders of packages, which others of ours its files may import. Of two
// entries that fit, the longer one counts. A package without an entry may not exist.
var mayImport = map[string][]string{
	"pkg/manifest":          {},
	"pkg/sshkey":            {"pkg/manifest"},
	"pkg/engine":            {"pkg/manifest"},
	"pkg/triton":            {"pkg/manifest"},
	"pkg/cache":             {"pkg/manifest"},
	"pkg/bundle":            {"pkg/bundle/signature", "pkg/cache", "pkg/manifest"},
	"pkg/bundle/signature":  {"pkg/sshkey", "pkg/manifest"},
	"pkg/loader":            {"pkg/engine", "pkg/triton", "pkg/bundle", "pkg/manifest"},
	"pkg/source":            {"pkg/cache", "pkg/engine", "pkg/triton", "pkg/bundle", "pkg/manifest"},
	"pkg/transfer":          {"pkg/transfer", "pkg/loader", "pkg/manifest"},
	"pkg/transfer/agent":    {"pkg/transfer/wire", "pkg/loader", "pkg/manifest"},
	"pkg/transfer/agentbin": {"pkg/manifest"},
	"pkg/transfer/dial":     {"pkg/sshkey", "pkg/manifest"},
	"pkg/transfer/wire":     {"pkg/manifest"},
	"cmd":                   {"pkg/transfer", "pkg/source", "pkg/bundle", "pkg/triton", "pkg/manifest"},
}

// noIO are the packages that package manifest must not import: it decides, it does not act.
var noIO = []string{"os", "net", "syscall", "bufio", "embed", "io/fs", "io/ioutil", "path/filepath", "log", "golang.org/x/sys"}

// ofTheProcess belong to the command line alone.
var ofTheProcess = []string{"Args", "Stdin", "Stdout", "Stderr", "Exit"}

func TestImportOrder(t *testing.T) {
	eachFile(t, func(t *testing.T, folder, name string, f *ast.File) {
		test := strings.HasSuffix(name, "_test.go")
		allowed, known := rule(folder)
		if !known && folder != "pkg" {
			t.Errorf("%s: package %s has no rule in mayImport", name, folder)
		}
		for _, i := range f.Imports {
			imported, _ := strconv.Unquote(i.Path.Value)
			ours, isOurs := strings.CutPrefix(imported, module)
			switch {
			case isOurs && within(ours, []string{"integration", "cmd"}):
				t.Errorf("%s imports %s", name, ours)
			case isOurs && !test && ours != folder && !within(ours, allowed):
				t.Errorf("%s imports %s; %s may import only %v", name, ours, folder, allowed)
			case folder == "pkg/manifest" && !test && within(imported, noIO):
				t.Errorf("%s imports %s, but package manifest does no I/O", name, imported)
			case imported == "log" && !test:
				t.Errorf("%s imports log: who wants to tell something sends an event or returns an error", name)
			}
		}
	})
}

func TestOnlyTheCommandTouchesTheProcess(t *testing.T) {
	eachFile(t, func(t *testing.T, folder, name string, f *ast.File) {
		if strings.HasPrefix(folder, "cmd/") || strings.HasSuffix(name, "_test.go") {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "os" && slices.Contains(ofTheProcess, s.Sel.Name) {
				t.Errorf("%s uses os.%s", name, s.Sel.Name)
			}
			return true
		})
	})
}

// TestRule keeps the checks above honest: they must tell good from bad.
func TestRule(t *testing.T) {
	for _, tt := range []struct {
		folder, imported string
		want             bool
	}{
		{"pkg/transfer", "pkg/source", false},
		{"pkg/source", "pkg/transfer/wire", false},
		{"pkg/transfer/dial", "pkg/transfer/wire", false},
		{"pkg/transfer", "pkg/transfer/wire", true},
		{"pkg/transfer/agent", "pkg/loader", true},
		{"pkg/loader", "pkg/transfer", false},
		{"pkg/engine", "pkg/loader", false},
		{"pkg/loader", "pkg/engine", true},
		{"pkg/engine", "pkg/manifestly", false},
		{"cmd/clara-push", "pkg/transfer/dial", true},
		{"cmd/clara-push", "pkg/loader", false},
	} {
		allowed, known := rule(tt.folder)
		if got := known && within(tt.imported, allowed); got != tt.want {
			t.Errorf("%s may import %s: %v, want %v", tt.folder, tt.imported, got, tt.want)
		}
	}
}

// rule finds the longest entry of mayImport that folder is or lies in.
func rule(folder string) (allowed []string, known bool) {
	longest := ""
	for f, a := range mayImport {
		if within(folder, []string{f}) && len(f) > len(longest) {
			longest, allowed, known = f, a, true
		}
	}
	return allowed, known
}

// within reports whether path is one of folders or lies below one.
func within(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
}

// eachFile parses every Go file of pkg and cmd, those for other platforms and build tags included.
func eachFile(t *testing.T, check func(t *testing.T, folder, name string, f *ast.File)) {
	t.Helper()
	files := 0
	for _, root := range []string{"pkg", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
				return err
			}
			name := strings.TrimPrefix(filepath.ToSlash(path), "../")
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			files++
			check(t, filepath.ToSlash(filepath.Dir(name)), name, f)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 10 {
		t.Fatalf("found only %d Go files", files)
	}
}
