//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// step is what is done with a bundle; none of the rows of images and models has one.
type step string

const (
	writeStep  step = "write"
	verifyStep step = "verify"
	loadStep   step = "load"       // into an engine that has nothing of it
	againStep  step = "load again" // into one that has it all
)

var steps = []step{writeStep, verifyStep, loadStep, againStep}

func stepNames() string {
	var names []string
	for _, s := range steps {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// bundleLine is the line of a bundle: somebody carries it.
var bundleLine = line{name: "bundle", image: largeImage}

// bundleRows lists what the flags ask for of bundles that the pair's source writes and its host loads. A file is verified
// without an engine; the first pair shows it.
func bundleRows(o options, p pair, first bool) []row {
	var rows []row
	for _, s := range steps {
		r := row{pair: p, line: bundleLine, change: s.change(), image: bundleLine.image, step: s}
		r.ways = r.allWays(o)
		asked := chosen(o.lines, bundleLine.name) && chosen(o.changes, string(r.change)) && chosen(o.bundles, string(s))
		if asked && len(r.ways) > 0 && (first || s != verifyStep) {
			rows = append(rows, r)
		}
	}
	return rows
}

// change is what the host has when the step begins.
func (s step) change() change {
	if s == againStep {
		return nothing
	}
	return cold
}

// bundles are the runs that write, verify and load a bundle of the large image.
type bundles struct{ *world }

func (w *world) bundleFile() string  { return filepath.Join(w.dir, "bundle.tar") }
func (w *world) writtenFile() string { return filepath.Join(w.dir, "written.tar") } // what a run writes
func (w *world) stateDir() string    { return filepath.Join(w.dir, "state") }

// prepare writes the bundle, once, and loads it where the row begins with that.
func (b bundles) prepare(ctx context.Context, r row) error {
	if err := b.images(ctx, r); err != nil {
		return err
	}
	b.kept = map[string]bool{}
	if err := errors.Join(b.forget(ctx), b.tagSource(ctx, r, "v1")); err != nil {
		return err
	}
	if _, err := os.Stat(b.bundleFile()); err != nil {
		if err := explained(b.writeCommand(ctx, r, b.bundleFile())); err != nil {
			return err
		}
	}
	if r.step != againStep {
		return nil
	}
	return explained(b.loadCommand(ctx))
}

// forget takes from the host everything, from clara-push what it knows, and what a run has written.
func (b bundles) forget(ctx context.Context) error {
	return errors.Join(b.clear(ctx, true), os.RemoveAll(b.cache), os.RemoveAll(b.stateDir()), os.RemoveAll(b.writtenFile()))
}

// reset brings back the state before a run, and into memory what the run will read: which way comes first shall not matter.
func (b bundles) reset(ctx context.Context, r row) error {
	if r.step != againStep {
		if err := b.forget(ctx); err != nil {
			return err
		}
	}
	syscall.Sync() // so that no run pays for what an earlier one has written
	if r.step == writeStep {
		return warm(b.source.DataRoot)
	}
	return warm(b.bundleFile())
}

// warm reads a file, or all files of a folder.
func warm(path string) error {
	return filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // engines tidy up
		}
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(io.Discard, f)
		return err
	})
}

// check sees that the host has the image. Of the other steps, that they ended well is all there is to see.
func (b bundles) check(ctx context.Context, r row) error {
	if r.step == writeStep || r.step == verifyStep {
		return nil
	}
	return b.world.check(ctx, r)
}

// weigh returns the size in bytes of what is carried to the host.
func (w *world) weigh(r row) (int64, error) {
	name := w.bundleFile()
	if r.step == writeStep {
		name = w.writtenFile()
	}
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
