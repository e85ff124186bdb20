//go:build linux

package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/integration/tritonserver"
)

// ensemble writes a model that runs one other.
func (m *models) ensemble(name, step string) string {
	m.t.Helper()
	return m.files(name, map[string]content{"1/": {}, "config.pbtxt": text(fmt.Sprintf(`name: %q
platform: "ensemble"
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]
ensemble_scheduling { step [ { model_name: %q model_version: -1 input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } } ] }
# state one
`, name, step))})
}

// readable lets everybody read a model, without which --strict refuses it.
func readable(t *testing.T, dir string) string {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		return errors.Join(err, os.Chmod(p, map[bool]fs.FileMode{true: 0o755, false: 0o644}[err == nil && e.IsDir()]))
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// An ensemble may use a model that only the host has. One that nobody has is refused before anything is sent.
func TestModelStepOnHost(t *testing.T) {
	t.Parallel()
	m := newModels(t, lab.SSHDOptions{}, 0)
	both := m.ensemble("both", "step")
	r := m.model(both)
	r.exits(t, 22)
	r.says(t, `the ensemble needs the model "step", which the host does not have`, "push the two together")
	m.model("--dry-run", both).exits(t, 22)
	m.tidy()
	m.placed(m.state("step", "one", 1))
	r = m.placed("--strict", readable(t, both))
	m.tidy("both", "step")
	if len(r.Summary.Warnings) > 0 {
		t.Errorf("warned: %v", r.Summary.Warnings)
	}
	odd := m.ensemble("odd", "../step")
	r = m.model(odd)
	r.exits(t, 22)
	m.tidy("both", "step")

	// A server may have a repository of its own besides.
	other := t.TempDir()
	if err := os.CopyFS(other+"/elsewhere", os.DirFS(m.state("elsewhere", "one", 1))); err != nil {
		t.Fatal(err)
	}
	s, err := tritonserver.Start(other, tritonserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m.model("--dry-run", "--triton", s.URL, m.ensemble("far", "elsewhere")).exits(t, 0)
	m.model("--dry-run", "--triton", s.URL, m.ensemble("far", "nowhere")).exits(t, 22)
}

// The rules that count are those of the host's server, unless another version is named; without a server, those of the
// current one.
func TestModelServerVersion(t *testing.T) {
	t.Parallel()
	m := newModels(t, lab.SSHDOptions{}, 0)
	modern := m.files("modern", map[string]content{"config.pbtxt": config("modern"), "1/w.bin": text("w")}) // has "backend", which 19.08 does not know
	netdef := m.files("netdef", map[string]content{
		"config.pbtxt": text("platform: \"caffe2_netdef\"\nmax_batch_size: 1\n" +
			"input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 4 ] } ]\noutput [ { name: \"y\" data_type: TYPE_FP32 dims: [ 4 ] } ]\n"),
		"1/model.netdef": random(100, 1), "1/init_model.netdef": random(100, 2),
	})
	servers := map[string]string{}
	for _, v := range []string{"1.5.0", "2.29.0", "7.0.0"} {
		s, err := tritonserver.Start(t.TempDir(), tritonserver.Options{Version: v})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		servers[v] = s.URL
	}
	readable(t, netdef)
	for _, c := range []struct {
		name, server string
		args         []string
		exit         int
		says         string
	}{
		{"a field that the server does not know", "1.5.0", []string{modern}, 22, "19.08"},
		{"a field that a newer server knows", "2.29.0", []string{modern}, 0, ""},
		{"another version is named", "1.5.0", []string{"--triton-version", "22.12", modern}, 0, ""},
		{"no server", "", []string{modern}, 0, ""},
		{"no server, a version is named", "", []string{"--triton-version", "19.08", modern}, 22, "19.08"},
		{"a platform that the server has still", "1.5.0", []string{"--strict", netdef}, 0, ""},
		{"a platform that it has no more", "2.29.0", []string{netdef}, 22, "caffe2_netdef"},
		{"a platform that newer ones have not", "", []string{"--strict", netdef}, 22, "caffe2_netdef"},
		{"a server from the future", "7.0.0", []string{modern}, 0, "no release that is known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.t = t
			args := append([]string{"--dry-run"}, c.args...)
			if c.server != "" {
				args = append([]string{"--triton", servers[c.server]}, args...)
			}
			r := m.model(args...)
			r.exits(t, c.exit)
			if c.says != "" {
				r.says(t, c.says)
			}
		})
	}
	m.tidy()
}
