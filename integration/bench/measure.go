//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/clara-push/clara-push/integration/meter"
)

// sample is one run of one way.
type sample struct {
	seconds      float64
	wire         int64 // bytes, both directions; of a bundle, its size
	client, host int64 // bytes of memory at the peak, over all processes of that end
}

// result is all runs of one way in one row.
type result struct {
	row     row
	way     way
	samples []sample
}

// subject is what a row's runs bring to the host.
type subject interface {
	prepare(ctx context.Context, r row) error // what the runs begin with, once
	reset(ctx context.Context, r row) error   // brings back the state before a run
	check(ctx context.Context, r row) error   // sees that a run did what it should
}

func (w *world) subject(r row) subject {
	switch r.group() {
	case modelGroup:
		return w.models
	case bundleGroup:
		return bundles{w}
	}
	return w
}

// race lets the row's ways take turns.
func (w *world) race(ctx context.Context, r row, runs int) ([]result, error) {
	if err := w.subject(r).prepare(ctx, r); err != nil {
		return nil, err
	}
	var err error
	if w.route, err = w.open(ctx, r.line); err != nil {
		return nil, err
	}
	defer w.route.close() //nolint:errcheck // the line has served
	results := make([]result, len(r.ways))
	for n, way := range r.ways {
		results[n] = result{row: r, way: way}
	}
	for range runs {
		for n, way := range r.ways {
			s, err := w.run(ctx, r, way)
			if err != nil {
				return results, fmt.Errorf("%s: %w", way.name, err)
			}
			results[n].samples = append(results[n].samples, s)
			fmt.Fprintf(os.Stderr, "bench: %s: %-14s %7.2f s  %s\n", r, way.name, s.seconds, load())
		}
	}
	return results, nil
}

// run brings back the state, runs the way once, and sees that it did what it should.
func (w *world) run(ctx context.Context, r row, way way) (sample, error) {
	if err := w.subject(r).reset(ctx, r); err != nil {
		return sample{}, err
	}
	commands, err := way.commands(ctx, w, r)
	if err != nil {
		return sample{}, err
	}
	s, err := w.measure(ctx, commands)
	if err == nil && r.group() == bundleGroup {
		s.wire, err = w.weigh(r)
	}
	if err != nil || !way.loads {
		return s, err
	}
	return s, w.subject(r).check(ctx, r)
}

func (w *world) measure(ctx context.Context, commands []*exec.Cmd) (sample, error) {
	traffic, err := meter.NewTraffic(w.host.SSHD)
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	said, err := w.start(commands)
	if err != nil {
		return sample{}, err
	}
	memory := meter.WatchMemory(func() []int { return pids(commands) }, w.hostProcesses)
	err = wait(commands, said)
	took := time.Since(began)
	peaks := memory.Stop()
	if err != nil {
		return sample{}, err
	}
	if err := traffic.Settle(ctx); err != nil {
		return sample{}, err
	}
	for _, s := range said {
		traffic.Add(s.String())
	}
	return sample{seconds: took.Seconds(), wire: traffic.In + traffic.Out, client: peaks[0], host: peaks[1]}, nil
}

// start starts the commands, each one's output the next one's input, and returns what they will have said.
func (w *world) start(commands []*exec.Cmd) ([]*bytes.Buffer, error) {
	said := make([]*bytes.Buffer, len(commands))
	var ours []*os.File
	defer func() {
		for _, f := range ours {
			f.Close()
		}
	}()
	for n, c := range commands {
		said[n] = &bytes.Buffer{}
		c.Stderr = w.listener(said[n])
		if n+1 < len(commands) {
			from, to, err := os.Pipe()
			if err != nil {
				return nil, err
			}
			ours = append(ours, from, to)
			c.Stdout, commands[n+1].Stdin = to, from
		}
	}
	for n, c := range commands {
		if err := w.route.begin(c); err != nil {
			for _, before := range commands[:n] {
				_, _ = before.Process.Kill(), before.Wait()
			}
			return nil, err
		}
	}
	return said, nil
}

// listener returns where a command's talk goes: into the buffer, and with -show to standard error as well.
func (w *world) listener(said *bytes.Buffer) io.Writer {
	if !w.options.show {
		return said
	}
	return io.MultiWriter(said, &clocked{to: os.Stderr, began: time.Now()})
}

// clocked puts the seconds since began before what is written at once.
type clocked struct {
	to    io.Writer
	began time.Time
}

func (c *clocked) Write(p []byte) (int, error) {
	_, err := fmt.Fprintf(c.to, "%8.2f  %s\n", time.Since(c.began).Seconds(), bytes.TrimSpace(p))
	return len(p), err
}

func wait(commands []*exec.Cmd, said []*bytes.Buffer) error {
	var errs []error
	for n, c := range commands {
		if err := c.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w: %s", filepath.Base(c.Path), err, strings.TrimSpace(said[n].String())))
		}
	}
	return errors.Join(errs...)
}

func pids(commands []*exec.Cmd) []int {
	var all []int
	for _, c := range commands {
		all = append(all, c.Process.Pid)
	}
	return all
}

// hostProcesses are what runs in the sessions on the host, without sshd itself.
func (w *world) hostProcesses() []int {
	return slices.DeleteFunc(w.host.Children(), func(pid int) bool {
		words := meter.Program(pid)
		return len(words) == 0 || strings.HasPrefix(filepath.Base(words[0]), "sshd")
	})
}

// load tells how busy the machine is, to see which figures to doubt.
func load() string {
	raw, _ := os.ReadFile("/proc/loadavg") // a missing remark is no error
	words := strings.Fields(string(raw))
	if len(words) == 0 {
		return ""
	}
	return "(load " + words[0] + ")"
}
