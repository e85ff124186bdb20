//go:build linux

package main

import (
	"slices"
	"testing"
)

func TestChooseRows(t *testing.T) {
	const twoPairs = "docker2010:docker2010,modern-containerd:modern-containerd"
	for _, c := range []struct {
		name string
		o    options
		want []string
	}{
		{"one group", options{pairs: twoPairs, only: bundleGroup}, []string{
			"20.10 → 20.10, bundle, write", "20.10 → 20.10, bundle, verify", "20.10 → 20.10, bundle, load", "20.10 → 20.10, bundle, load again",
			"containerd → containerd, bundle, write", "containerd → containerd, bundle, load", "containerd → containerd, bundle, load again",
		}},
		{"a step", options{pairs: twoPairs, bundles: "verify,load again", only: bundleGroup}, []string{
			"20.10 → 20.10, bundle, verify", "20.10 → 20.10, bundle, load again", "containerd → containerd, bundle, load again",
		}},
		{"a line is about no bundle", options{pairs: twoPairs, lines: "1gbit", changes: "cold"}, []string{
			"20.10 → 20.10, 1gbit, cold", "containerd → containerd, 1gbit, cold", "model, 1gbit, many files",
		}},
		{"a change", options{pairs: "docker2010:docker2010", lines: "loopback,bundle", changes: "nothing"}, []string{
			"20.10 → 20.10, loopback, nothing", "20.10 → 20.10, bundle, load again",
		}},
		{"no pairs", options{pairs: none, lines: "loopback,bundle"}, []string{"model, loopback, many files", "model, loopback, one file"}},
		{"two groups", options{pairs: "docker2010:docker2010", only: "images,models", changes: "cold", lines: "loopback"}, []string{
			"20.10 → 20.10, loopback, cold", "model, loopback, many files", "model, loopback, one file",
		}},
	} {
		rows, err := chooseRows(c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var got []string
		for _, r := range rows {
			got = append(got, r.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: rows %q, want %q", c.name, got, c.want)
		}
	}
	if rows, err := chooseRows(options{pairs: none, only: bundleGroup}); err == nil {
		t.Errorf("bundles without engines gave the rows %v", rows)
	}
}
