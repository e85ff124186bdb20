package main

import "testing"

func TestNearest(t *testing.T) {
	words := []string{"dry-run", "json", "as", "accept-new", "host-fingerprint", "host-engine", "engine", "keep", "quiet"}
	for _, tt := range []struct{ typed, want string }{
		{"dryrun", "dry-run"},
		{"dry", "dry-run"},
		{"jason", "json"},
		{"JSON", ""},
		{"fingerprint", "host-fingerprint"},
		{"engnie", "engine"},
		{"kep", "keep"},
		{"x", ""},
		{"insecure", ""},
		{"", ""},
	} {
		if got := nearest(tt.typed, words); got != tt.want {
			t.Errorf("nearest(%q) = %q, want %q", tt.typed, got, tt.want)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0},
	} {
		if got := edits(tt.a, tt.b); got != tt.want {
			t.Errorf("edits(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
