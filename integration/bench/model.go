//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// shape is what a model consists of: files whose bytes do not shrink.
type shape struct {
	name  string // as the flags and the table call it
	files int
	size  int64 // of each, in bytes
	lines []string
}

// The shapes that are measured, by the lines that tell something about them.
const (
	manyFiles = "many files"
	oneFile   = "one file"
)

func shapes(o options) []shape {
	return []shape{
		{manyFiles, o.files, 4 << 10, []string{loopback, "1gbit"}},
		{oneFile, 1, o.weights * 1e6, []string{loopback}},
	}
}

// models are the runs that bring a model. Each run has a repository of its own, so that nobody pays for the removal of what
// the one before has written: where a file system takes no inode that was just freed, the next ten thousand would wait for it.
type models struct {
	*world
	runs int
}

const (
	modelName  = "bench"
	fileFolder = 1000 // files of one folder
)

// source is the row's model on this side.
func (m *models) source(r row) string { return filepath.Join(m.dir, r.shape.name, modelName) }

// repository is where the model goes in the run at hand.
func (m *models) repository() string {
	return filepath.Join(m.dir, fmt.Sprint("run-", m.runs), "models")
}

// prepare makes the model, once.
func (m *models) prepare(_ context.Context, r row) error {
	config := filepath.Join(m.source(r), "config.pbtxt")
	if _, err := os.Stat(config); err == nil {
		return nil
	}
	for n := range r.shape.files {
		dir := filepath.Join(m.source(r), "1", fmt.Sprint("part-", n/fileFolder))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := writeRandom(filepath.Join(dir, fmt.Sprintf("weights-%05d.bin", n)), r.shape.size); err != nil {
			return err
		}
	}
	text := "backend: \"lab\"\ninput { name: \"in\" data_type: TYPE_FP32 dims: 1 }\noutput { name: \"out\" data_type: TYPE_FP32 dims: 1 }\n"
	return os.WriteFile(config, []byte(text), 0o644)
}

// reset makes an empty repository and forgets the digests that clara-push remembers.
func (m *models) reset(ctx context.Context, r row) error {
	var err error
	if r.shape.files == 1 { // little to remove, and much room
		err = os.RemoveAll(filepath.Dir(m.repository()))
	}
	m.runs++
	err = errors.Join(err, os.RemoveAll(m.cache), os.MkdirAll(m.repository(), 0o755))
	return errors.Join(err, exec.CommandContext(ctx, "sync").Run()) // so that no run pays for what an earlier one has written
}

// check sees that the repository has the model.
func (m *models) check(ctx context.Context, r row) error {
	return explained(exec.CommandContext(ctx, "diff", "-rq", m.source(r), filepath.Join(m.repository(), modelName)))
}

var modelWays = []way{
	{claraPush, anyRow, pushModel, true},
	{"tar | ssh", hasMany, tarPipe, true},
	{"scp -r", hasNear, scpFolder, true},
	{"rsync -a", hasMany, rsync, true},
	{"rsync -W, sync", hasOne, rsyncSync, true},
}

func anyRow(row) bool    { return true }
func hasMany(r row) bool { return r.shape.name == manyFiles }

// hasNear leaves out the far line, where ten thousand files with round trips for each take more than ten minutes.
func hasNear(r row) bool { return hasMany(r) && r.line.rtt == 0 }
func hasOne(r row) bool  { return r.shape.name == oneFile }

// pushModel is clara-push as a user runs it.
func pushModel(ctx context.Context, w *world, r row) ([]*exec.Cmd, error) {
	return []*exec.Cmd{w.enter(ctx, w.program, "model", "-v", "-F", w.route.config, "--cache-dir", w.cache,
		"--repository", w.models.repository(), w.models.source(r), hostAlias)}, nil
}

// tarPipe is tar to tar. It leaves half a model where it breaks off, and nothing is sure to be on the disk when it ends.
func tarPipe(ctx context.Context, w *world, r row) ([]*exec.Cmd, error) {
	return []*exec.Cmd{
		exec.CommandContext(ctx, "tar", "-C", filepath.Dir(w.models.source(r)), "-c", modelName),
		w.enter(ctx, append(w.ssh(), hostAlias, "tar -x -C "+quoted(w.models.repository()))...),
	}, nil
}

func scpFolder(ctx context.Context, w *world, r row) ([]*exec.Cmd, error) {
	return []*exec.Cmd{w.enter(ctx, "scp", "-r", "-F", w.route.config, "-c", cipher, "-o", "LogLevel=VERBOSE",
		w.models.source(r), hostAlias+":"+w.models.repository())}, nil
}

func rsync(ctx context.Context, w *world, r row) ([]*exec.Cmd, error) {
	return []*exec.Cmd{w.enter(ctx, w.rsync(r)...)}, nil
}

// rsyncSync makes sure that everything is on the disk, as clara-push does. The host is this machine.
func rsyncSync(ctx context.Context, w *world, r row) ([]*exec.Cmd, error) {
	argv := append([]string{"sh", "-c", `"$@" && sync`, "sh"}, w.rsync(r, "-W")...)
	return []*exec.Cmd{w.enter(ctx, argv...)}, nil
}

func (w *world) rsync(r row, more ...string) []string {
	shell := ""
	for _, word := range w.ssh() {
		shell += quoted(word) + " "
	}
	argv := append([]string{"rsync", "-a"}, more...)
	return append(argv, "-e", shell, w.models.source(r), hostAlias+":"+w.models.repository())
}

// ssh is how to reach the host with ssh, but for the host's name.
func (w *world) ssh() []string {
	return []string{"ssh", "-F", w.route.config, "-c", cipher, "-o", "LogLevel=VERBOSE"}
}

// quoted makes one word of a path of ours, in which there is no quotation mark.
func quoted(path string) string { return "'" + path + "'" }
