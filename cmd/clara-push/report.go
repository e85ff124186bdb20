package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A report tells a person on stderr, and with --json a program on stdout, what happens. Its methods may be called from
// several goroutines.
type report struct {
	out *outlet
	err io.Writer

	// Flags of the command line.
	json, quiet, verbose bool

	verb string // what is done to the bytes; empty: they are sent

	// summary is filled by the command while it goes on and printed by finish.
	summary summary

	mu     sync.Mutex
	gauge  gauge         // nil before the first byte
	gauged manifest.Step // what gauge is about
	said   map[string]bool
	ticked time.Time // when the last progress object was printed
}

// newReport looks for --json in args by itself, because an error in the flags must be told in the right way too.
func newReport(stdio IO, args []string) *report {
	if n := slices.Index(args, "--"); n >= 0 {
		args = args[:n]
	}
	return &report{out: &outlet{w: stdio.Out}, err: stdio.Err, said: map[string]bool{}, json: slices.Contains(args, "--json")}
}

// section is the flags that say how much is told, and how.
func (r *report) section() section {
	return section{"Output", func(f *pflag.FlagSet) {
		f.BoolVar(&r.json, "json", r.json, "print one JSON object a line on stdout, the last one a summary")
		f.BoolVarP(&r.quiet, "quiet", "q", false, "say nothing on stderr but errors")
		f.BoolVarP(&r.verbose, "verbose", "v", false, "say each step on stderr")
	}}
}

// event is a manifest.Events.
func (r *report) event(e manifest.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case e.Step == manifest.StepWarning:
		r.warn(e.Ref, e.Text)
	case phases[e.Step].doing != "" && e.Total > 0:
		r.progress(e)
	default:
		r.step(e)
	}
}

func (r *report) step(e manifest.Event) {
	r.record(stepLine{Event: "step", Time: stamp(), Step: e.Step, Ref: manifest.Plain(e.Ref), Text: manifest.Plain(e.Text)})
	switch e.Step {
	case manifest.StepPlan, manifest.StepWait, manifest.StepRetry:
		r.say("%s", joined(e.Ref, e.Text))
	default:
		if r.verbose {
			r.say("%s", joined(string(e.Step), e.Ref, e.Text))
		}
	}
}

func (r *report) progress(e manifest.Event) {
	if now := time.Now(); now.Sub(r.ticked) >= time.Second || e.Done >= e.Total {
		r.ticked = now
		r.record(progressLine{Event: "progress", Time: stamp(), Step: e.Step, Done: e.Done, Total: e.Total, Wire: e.Wire})
	}
	if r.quiet {
		return
	}
	if r.gauge != nil && r.gauged != e.Step {
		r.gauge.clear()
		r.gauge = nil
	}
	if r.gauge == nil {
		p := phases[e.Step]
		if e.Step == manifest.StepSend && r.verb != "" {
			p.doing = r.verb
		}
		r.gauge, r.gauged = newGauge(r.err, p), e.Step
	}
	r.gauge.set(e.Done, e.Total)
}

// warn says each warning once.
func (r *report) warn(ref, text string) {
	line := joined("warning", ref, text)
	if r.said[line] {
		return
	}
	r.said[line] = true
	r.summary.Warnings = append(r.summary.Warnings, joined(ref, text))
	r.record(stepLine{Event: "warning", Time: stamp(), Ref: manifest.Plain(ref), Text: manifest.Plain(text)})
	r.say("%s", line)
}

// warnings says those that a host's answer carried.
func (r *report) warnings(texts ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range texts {
		r.warn("", t)
	}
}

// note prints a line for people.
func (r *report) note(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.say("%s", line)
}

// notes prints lines for people.
func (r *report) notes(lines []string) {
	for _, l := range lines {
		r.note(l)
	}
}

// interrupted answers the first signal.
func (r *report) interrupted() {
	r.note("interrupted, giving up in good order; once more ends at once")
}

// say prints a line on stderr, beside a progress bar when there is one.
func (r *report) say(format string, args ...any) {
	if r.quiet {
		return
	}
	if r.gauge != nil {
		r.gauge.clear()
	}
	fmt.Fprintln(r.err, manifest.Plain(fmt.Sprintf(format, args...)))
}

// result prints the lines that a command was called for: on stdout, which with --json belongs to the objects.
func (r *report) result(lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range lines {
		if r.json {
			r.say("%s", l)
			continue
		}
		fmt.Fprintln(r.out, manifest.Plain(l))
	}
}

// finish prints the error and the summary object. It is the only place that prints errors.
func (r *report) finish(err error, code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gauge != nil {
		r.gauge.clear()
	}
	if err != nil {
		fmt.Fprintln(r.err, "clara-push: "+manifest.Plain(err.Error()))
	}
	var f *manifest.Failure
	if errors.As(err, &f) && f.Hint != "" {
		fmt.Fprintln(r.err, "  → "+manifest.Plain(f.Hint))
	}
	r.record(r.summary.closed(err, code))
	if r.out.err != nil {
		fmt.Fprintln(r.err, "clara-push: what should have been printed was lost: "+manifest.Plain(r.out.err.Error()))
	}
}

// An outlet is stdout. It remembers why something could not be written, unless nobody wanted to read it.
type outlet struct {
	w   io.Writer
	err error
}

func (o *outlet) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.EBADF) {
		o.err = err
	}
	return n, err
}

// joined writes its parts as "a: b: c", safe to print, without the empty ones.
func joined(parts ...string) string {
	var line string
	for _, p := range parts {
		switch {
		case p == "":
		case line == "":
			line = manifest.Plain(p)
		default:
			line += ": " + manifest.Plain(p)
		}
	}
	return line
}
