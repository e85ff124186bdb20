//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// printTable prints what was measured. A ratio is how many times as long as clara-push a way took.
func printTable(to io.Writer, results []result, o options) {
	if len(results) == 0 {
		return
	}
	printConditions(to, results, o)
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "source → host\tline\twhat\tway\tseconds\tratio\twanted\ton the wire\tmemory here\tmemory there")
	var last row
	for _, r := range results {
		if len(r.samples) == 0 {
			continue
		}
		where := [3]string{r.row.pair.String(), r.row.line.name, r.row.what()}
		if r.row.String() == last.String() {
			where = [3]string{}
		}
		last = r.row
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", where[0], where[1], where[2], r.way.name, r.figures(results))
	}
	t.Flush()
	fmt.Fprintln(to, "\nratio: how many times as long as clara-push. wanted: what clara-push promises; ! where it was not seen in these runs.")
}

// printConditions says under which conditions the figures arose, for the groups that were measured.
func printConditions(to io.Writer, results []result, o options) {
	has := map[string]bool{}
	for _, r := range results {
		has[r.row.group()] = true
	}
	fmt.Fprintln(to)
	if has[imageGroup] {
		fmt.Fprintf(to, "Images: a base layer of %d MB (lossy: none, and a layer of %d MB that does not shrink), a top layer of 3 MB.\n", o.large, o.lossy)
	}
	if has[bundleGroup] {
		fmt.Fprintf(to, "Bundles: of the image with the base layer of %d MB, compression %s. On the wire: the file's size. Who reads it finds it in the page cache.\n", o.large, o.compression)
	}
	if has[modelGroup] {
		fmt.Fprintf(to, "Models: %d files of 4 KiB, and one file of %d MB; they do not shrink.\n", o.files, o.weights)
	}
	fmt.Fprintf(to, "Medians of %d runs that took turns, on %d processors; both ends share them. All SSH with the cipher %s.\n\n", o.runs, runtime.NumCPU(), cipher)
}

// figures are the columns from seconds on.
func (r result) figures(all []result) string {
	s := r.median()
	ratio, wanted := "", ""
	if base, ok := baseOf(r, all); ok {
		ratio = fmt.Sprintf("%.2f", s.seconds/base)
		if least := promise(r.row, r.way); least > 0 {
			wanted = fmt.Sprintf("≥ %.2f", least)
			if s.seconds/base < least {
				wanted += " !"
			}
		}
	}
	if most := limit(r.row, r.way); most > 0 {
		wanted = fmt.Sprintf("< %.0f s", most)
		if s.seconds >= most {
			wanted += " !"
		}
	}
	return fmt.Sprintf("%.2f\t%s\t%s\t%s\t%s\t%s", s.seconds, ratio, wanted, amount(s.wire), amount(s.client), amount(s.host))
}

func amount(n int64) string {
	if n == 0 {
		return "-"
	}
	return manifest.FormatBytes(n)
}

// baseOf finds clara-push's seconds in r's row.
func baseOf(r result, all []result) (float64, bool) {
	for _, other := range all {
		if other.way.name == claraPush && other.row.String() == r.row.String() && len(other.samples) > 0 {
			return other.median().seconds, true
		}
	}
	return 0, false
}

// median takes the median of each figure for itself.
func (r result) median() sample {
	return sample{
		seconds: middle(r.samples, func(s sample) float64 { return s.seconds }),
		wire:    middle(r.samples, func(s sample) int64 { return s.wire }),
		client:  middle(r.samples, func(s sample) int64 { return s.client }),
		host:    middle(r.samples, func(s sample) int64 { return s.host }),
	}
}

func middle[T cmp.Ordered](samples []sample, of func(sample) T) T {
	var all []T
	for _, s := range samples {
		all = append(all, of(s))
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}
