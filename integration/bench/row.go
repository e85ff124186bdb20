//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/integration/lab"
)

// pair is a source's engine and a host's. The zero pair is for models, which need none.
type pair struct{ source, host lab.Kind }

var noEngines pair

func (p pair) String() string {
	if p == noEngines {
		return "model"
	}
	return short(p.source) + " → " + short(p.host)
}

// available says why this machine cannot have what the pair needs.
func (p pair) available() error {
	if p != noEngines {
		return lab.Available(p.source, p.host)
	}
	if _, err := exec.LookPath("rsync"); err != nil {
		return fmt.Errorf("rsync is not installed: run scripts/install-lab.sh")
	}
	return lab.Available()
}

func short(k lab.Kind) string {
	switch k {
	case lab.Docker2010:
		return "20.10"
	case lab.ModernContainerd:
		return "containerd"
	case lab.ModernGraphdriver:
		return "graphdriver"
	}
	return string(k)
}

// A row is one thing to do; the ways to do it take turns.
type row struct {
	pair   pair
	line   line
	change change
	ways   []way
	image  string // of world.images
	shape  shape  // of the model, where one is brought
	step   step   // of a bundle's way, where one is carried
}

func (r row) String() string { return fmt.Sprintf("%s, %s, %s", r.pair, r.line.name, r.what()) }

// The groups of rows that -only names.
const (
	imageGroup  = "images"
	modelGroup  = "models"
	bundleGroup = "bundles"
)

func (r row) group() string {
	switch {
	case r.pair == noEngines:
		return modelGroup
	case r.step != "":
		return bundleGroup
	}
	return imageGroup
}

// what says what is brought: which model, or what of an image, or what is done with a bundle.
func (r row) what() string {
	switch r.group() {
	case modelGroup:
		return r.shape.name
	case bundleGroup:
		return string(r.step)
	}
	return string(r.change)
}

// change is what happened to the image since the host got it.
type change string

const (
	cold    change = "cold"    // the host has nothing of it, nor has the source's cache
	top     change = "top"     // another small layer on top
	nothing change = "nothing" // the same image
)

// chooseRows lists what the flags ask for.
func chooseRows(o options) ([]row, error) {
	var rows []row
	pairs, err := parsePairs(o.pairs)
	if err != nil {
		return nil, err
	}
	for n, p := range pairs {
		if chosen(o.only, imageGroup) {
			rows = append(rows, imageRows(o, p, n == 0)...)
		}
		if chosen(o.only, bundleGroup) {
			rows = append(rows, bundleRows(o, p, n == 0)...)
		}
	}
	if chosen(o.only, modelGroup) {
		rows = append(rows, modelRows(o)...)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("the flags leave nothing to measure")
	}
	return rows, nil
}

// imageRows lists what the flags ask for of images between a pair. The lossy lines are about the transfer alone; the first
// pair shows it.
func imageRows(o options, p pair, first bool) []row {
	var rows []row
	for _, l := range lines {
		if !chosen(o.lines, l.name) || l.loss > 0 && !first {
			continue
		}
		for _, c := range []change{cold, top, nothing} {
			r := row{pair: p, line: l, change: c, image: l.image}
			if r.ways = r.allWays(o); chosen(o.changes, string(c)) && len(r.ways) > 0 {
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// modelRows lists what the flags ask for of models, which have no former state: they are cold.
func modelRows(o options) []row {
	var rows []row
	for _, s := range shapes(o) {
		for _, l := range lines {
			r := row{line: l, change: cold, shape: s}
			r.ways = r.allWays(o)
			if slices.Contains(s.lines, l.name) && chosen(o.lines, l.name) && chosen(o.changes, string(cold)) && chosen(o.models, s.name) && len(r.ways) > 0 {
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// none is what -pairs, -models and -bundles take for nothing at all.
const none = "none"

// chosen reports whether a list of names, separated by commas, has name; the empty list has all.
func chosen(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}

func parsePairs(s string) ([]pair, error) {
	var pairs []pair
	if s == none {
		return nil, nil
	}
	for _, word := range strings.Split(s, ",") {
		source, host, ok := strings.Cut(word, ":")
		p := pair{lab.Kind(source), lab.Kind(host)}
		if !ok || !slices.Contains(lab.Dockers, p.source) || !slices.Contains(lab.Dockers, p.host) {
			return nil, fmt.Errorf("%q is no pair of engines: SOURCE:HOST, of %s", word, kinds())
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

func pairsOf(rows []row) []pair {
	var pairs []pair
	for _, r := range rows {
		if !slices.Contains(pairs, r.pair) {
			pairs = append(pairs, r.pair)
		}
	}
	return pairs
}

// allWays lists the ways that make sense in the row and that the flags ask for.
func (r row) allWays(o options) []way {
	var ways []way
	all := map[string][]way{imageGroup: imageWays, modelGroup: modelWays, bundleGroup: bundleWays}[r.group()]
	for _, w := range all {
		if w.fits(r) && chosen(o.ways, w.name) {
			ways = append(ways, w)
		}
	}
	return ways
}
