package triton_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/triton"
)

// TestHostileConfigs wants the largest configurations to be read in a moment, whatever they hold.
func TestHostileConfigs(t *testing.T) {
	fill := func(s string) string { return strings.Repeat(s, (1<<20)/len(s)) }
	chain := func() string {
		var b strings.Builder
		b.WriteString("platform: \"ensemble\" input { name: \"t0\" } ensemble_scheduling {")
		for n := 0; b.Len() < 1<<20-200; n++ {
			// Backwards: each step waits for the next one.
			fmt.Fprintf(&b, " step { model_name: \"m\" input_map { key: \"i\" value: \"t%d\" } output_map { key: \"o\" value: \"t%d\" } }", n+1, n)
		}
		return b.String() + "}"
	}
	for name, text := range map[string]string{
		"inputs on one line":   fill("input{reshape{}} "),
		"unknown fields":       fill("x1{} "),
		"misspelt fields":      fill("max_batch_sise: 1 "),
		"one long name":        fill("x"),
		"one long string":      `name: "` + fill("x")[:1<<20-10] + `"`,
		"messages without end": fill("input{"),
		"closing brackets":     fill("}"),
		"templates":            fill("${a}\n"),
		"templates in strings": fill("metric_tags{key:\"${a}\"}\n"),
		"dimensions":           "input { dims: [ 0" + fill(",0")[:1<<20-30] + "] }",
		"commas":               "input [" + fill(",")[:1<<20-20] + "]",
		"comments":             fill("#\n"),
		"steps":                chain(),
		"bytes":                fill("\x00\xff\x80{"),
		"enumeration":          "input { data_type: " + fill("X")[:1<<20-30] + " }",
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "m")
			put(t, dir, "1/model.onnx", "@onnx")
			must(t, os.WriteFile(filepath.Join(dir, "config.pbtxt"), []byte(text), 0o644))
			began := time.Now()
			r, err := triton.Check(context.Background(), dir, triton.Options{})
			must(t, err)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if len(r.Findings) > 250 {
				t.Errorf("%d findings", len(r.Findings))
			}
			for _, f := range r.Findings {
				if len(f.Text) > 2000 || len(f.Advice) > 2000 {
					t.Errorf("a finding of %d bytes", len(f.Text)+len(f.Advice))
				}
			}
		})
	}
}

// TestManyOddEntries wants what the directory is as a whole to be told, however much of it cannot be part of a model.
func TestManyOddEntries(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	put(t, dir, "notes/", "")
	for n := range 300 {
		must(t, os.Symlink("nothing", filepath.Join(dir, "notes", fmt.Sprint(n))))
	}
	r, err := triton.Check(context.Background(), dir, triton.Options{})
	must(t, err)
	if len(r.Findings) < 50 || !slices.ContainsFunc(r.Findings, func(f triton.Finding) bool { return f.Rule == triton.RuleNoVersion }) {
		t.Errorf("%d findings, none of them that there is no version", len(r.Findings))
	}
}

// TestTooManyEntries wants more files than can be pushed to be refused, also when there are few and links repeat them;
// and nothing said to be missing that was not come to.
func TestTooManyEntries(t *testing.T) {
	dir := place(t, t.TempDir(), "derived")
	must(t, os.Mkdir(filepath.Join(dir, "1", "many"), 0o755))
	for n := range 200 {
		put(t, dir, fmt.Sprint("1/many/", n), "x")
		must(t, os.Symlink("many", filepath.Join(dir, "1", fmt.Sprint("again", n))))
	}
	r, err := triton.Check(context.Background(), dir, triton.Options{})
	must(t, err)
	if len(r.Findings) != 1 || r.Findings[0].Rule != triton.RuleTooMany {
		t.Errorf("it says %v", r.Findings)
	}
}

// TestNotThere wants the right kind of error for what cannot be looked at.
func TestNotThere(t *testing.T) {
	dir := place(t, t.TempDir(), "derived")
	for _, tt := range []struct {
		dirs []string
		o    triton.Options
		want manifest.Kind
	}{
		{[]string{dir + "2"}, triton.Options{}, manifest.KindNotFound},
		{[]string{dir}, triton.Options{ConfigFile: dir + ".pbtxt"}, manifest.KindNotFound},
		{[]string{dir, dir}, triton.Options{ConfigFile: dir + ".pbtxt"}, manifest.KindUsage},
		{[]string{dir, dir}, triton.Options{Name: "x"}, manifest.KindUsage},
	} {
		if _, err := triton.CheckAll(context.Background(), tt.dirs, tt.o); manifest.KindOf(err) != tt.want {
			t.Errorf("%v %+v: %v, want %s", tt.dirs, tt.o, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := triton.Check(ctx, dir, triton.Options{}); err == nil {
		t.Error("a cancelled check gave no error")
	}
}

// TestLinks wants links within a model to be followed, also when the model directory is one itself.
func TestLinks(t *testing.T) {
	root := t.TempDir()
	dir := place(t, root, "onnx")
	must(t, os.Rename(filepath.Join(dir, "2"), filepath.Join(dir, "1", "real")))
	must(t, os.Symlink("1/real", filepath.Join(dir, "2")))
	must(t, os.Remove(filepath.Join(dir, "1", "model.onnx")))
	must(t, os.Symlink(filepath.Join(dir, "1", "real", "model.onnx"), filepath.Join(dir, "1", "model.onnx")))
	must(t, os.Rename(dir, filepath.Join(root, "store")))
	must(t, os.Symlink("store", dir))
	must(t, os.Remove(filepath.Join(root, "store", "1", "model.onnx")))
	must(t, os.Symlink("real/model.onnx", filepath.Join(root, "store", "1", "model.onnx")))
	r, err := triton.Check(context.Background(), dir, triton.Options{})
	must(t, err)
	if len(r.Findings) > 0 || r.Model != "onnx" {
		t.Errorf("%s: %v", r.Model, r.Findings)
	}
}

// TestUnreadable wants files that this user may not read to be refused.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("this user can read everything")
	}
	for _, path := range []string{"1/model.graphdef", "1", "config.pbtxt", "1/notes"} {
		dir := place(t, t.TempDir(), "liver")
		put(t, dir, "1/notes", "x")
		p := filepath.Join(dir, filepath.FromSlash(path))
		must(t, os.Chmod(p, 0))
		r, err := triton.Check(context.Background(), dir, triton.Options{})
		must(t, errors.Join(err, os.Chmod(p, 0o755)))
		if len(r.Findings) != 1 || r.Findings[0].Rule != triton.RuleUnreadable || r.Findings[0].Severity != triton.Refuse || r.Findings[0].File != p {
			t.Errorf("%s: %v", path, r.Findings)
		}
	}
	dir := place(t, t.TempDir(), "liver")
	must(t, os.Chmod(dir, 0))
	_, err := triton.Check(context.Background(), dir, triton.Options{})
	must(t, os.Chmod(dir, 0o755))
	if manifest.KindOf(err) != manifest.KindPermission || strings.Count(err.Error(), dir) != 1 {
		t.Errorf("the directory: %v", err)
	}
}

// TestConfig wants the report to say what a push needs to know.
func TestConfig(t *testing.T) {
	root := t.TempDir()
	both, onnx, torch := place(t, root, "both"), place(t, root, "onnx"), place(t, root, "torch")
	reports, err := triton.CheckAll(context.Background(), []string{both, torch, onnx}, triton.Options{})
	must(t, err)
	var order []string
	for _, r := range triton.Order(reports) {
		order = append(order, r.Model)
		if r.Err(true) != nil {
			t.Errorf("%s: %v", r.Model, r.Findings)
		}
	}
	if got := strings.Join(order, " "); got != "onnx torch both" {
		t.Errorf("order %s", got)
	}
	if got := fmt.Sprintf("%+v", *reports[0].Config); got != "{Derived:false Platform:ensemble Backend: Versions:[1] Served:[1] Steps:[{Model:onnx Version:-1} {Model:torch Version:1}]}" {
		t.Errorf("ensemble: %s", got)
	}
	if got := fmt.Sprintf("%+v", *reports[2].Config); got != "{Derived:false Platform:onnxruntime_onnx Backend:onnxruntime Versions:[2 1] Served:[2] Steps:[]}" {
		t.Errorf("onnx: %s", got)
	}
	must(t, os.Remove(filepath.Join(onnx, "labels.txt")))
	r, err := triton.Check(context.Background(), onnx, triton.Options{})
	must(t, err)
	if err := r.Err(false); manifest.KindOf(err) != manifest.KindModel || !strings.Contains(err.Error(), "config.pbtxt:13:5: there is no label file") {
		t.Errorf("%v", err)
	}
}
