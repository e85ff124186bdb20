//go:build linux

// Bench measures clara-push against what people do without it: docker save | ssh docker load, the same with zstd in
// between, scp; for models tar, scp -r and rsync; for bundles docker save | gzip, sha256sum and docker load. Everything
// runs on this machine, in a lab of its own, over loopback or emulated lines. It prints one table of ratios; the figures
// are medians of runs that took turns, each from the same state. It proves nothing right: the tests do.
// Read main, then row, then world.measure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/clara-push/clara-push/integration/lab"
)

// options are the flags.
type options struct {
	only                        string
	pairs, lines, changes, ways string
	models, bundles             string
	runs                        int
	large, lossy                int64 // MB
	files                       int   // of the model of many
	weights                     int64 // MB, of the model of one
	compression                 string
	program                     string
	quick, show                 bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := parseFlags()
	if err := run(ctx, o); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parseFlags() options {
	var o options
	flag.StringVar(&o.only, "only", "", "groups to measure, of "+strings.Join([]string{imageGroup, modelGroup, bundleGroup}, ", ")+" (default all)")
	flag.StringVar(&o.pairs, "pairs", "docker2010:docker2010,modern-containerd:modern-containerd", "source:host engines, of "+kinds()+", or none")
	flag.StringVar(&o.models, "models", "", "models to measure, of "+manyFiles+", "+oneFile+", or none (default both)")
	flag.StringVar(&o.bundles, "bundles", "", "what to measure of bundles between the pairs, of "+stepNames()+", or none (default all)")
	flag.StringVar(&o.lines, "lines", "", "lines to measure on, of "+lineNames()+" (default all)")
	flag.StringVar(&o.changes, "changes", "", "what changed since the last push, of cold, top, nothing (default all)")
	flag.StringVar(&o.ways, "ways", "", "ways to measure, of "+wayNames()+" (default all that apply)")
	flag.IntVar(&o.runs, "runs", 3, "runs of each way")
	flag.Int64Var(&o.large, "large", 1074, "size of the base layer in MB")
	flag.Int64Var(&o.lossy, "lossy", 128, "size of the layer on the lossy lines in MB")
	flag.IntVar(&o.files, "files", 10_000, "how many files of 4 KiB the model of many files has")
	flag.Int64Var(&o.weights, "weights", 1000, "size of the model of one file in MB")
	flag.StringVar(&o.compression, "compression", "gzip", "of layers in bundles, as clara-push bundle takes it")
	flag.StringVar(&o.program, "program", "", "clara-push to measure (default: build it)")
	flag.BoolVar(&o.quick, "quick", false, "one run each, small images, loopback, the 100 Mbit/s line and bundles only")
	flag.BoolVar(&o.show, "show", false, "let clara-push tell each step, with the seconds since its start")
	flag.Parse()
	if o.quick {
		o.runs, o.large, o.weights = 1, 256, 250
		if o.lines == "" {
			o.lines = strings.Join([]string{loopback, "100mbit", bundleLine.name}, ",")
		}
	}
	return o
}

func kinds() string {
	var names []string
	for _, k := range lab.Dockers {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// run measures all pairs and prints the table, also of what was measured before an error.
func run(ctx context.Context, o options) error {
	rows, err := chooseRows(o)
	if err != nil {
		return err
	}
	l, err := lab.Start(ctx, lab.Options{Log: os.Stderr})
	if err != nil {
		return err
	}
	defer l.Close()
	var results []result
	defer func() { printTable(os.Stdout, results, o) }()
	for _, p := range pairsOf(rows) {
		if err := p.available(); err != nil {
			leaveOut(p, err)
			continue
		}
		got, err := runPair(ctx, l, p, rows, o)
		results = append(results, got...)
		if err != nil {
			return err
		}
	}
	return nil
}

// runPair measures the rows of one pair, and returns also what was measured before an error.
func runPair(ctx context.Context, l *lab.Lab, p pair, rows []row, o options) (results []result, err error) {
	w, err := newWorld(ctx, l, p, o)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.pair != p {
			continue
		}
		got, err := w.race(ctx, r, o.runs)
		results = append(results, got...)
		var missing *unavailable
		if errors.As(err, &missing) {
			leaveOut(r, err)
			continue
		}
		if err != nil {
			return results, fmt.Errorf("%s: %w", r, err)
		}
	}
	return results, w.close()
}

func leaveOut(what fmt.Stringer, why error) {
	fmt.Fprintf(os.Stderr, "bench: left out: %s: %v\n", what, why)
}
