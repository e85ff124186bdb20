package sshkey

import (
	"strings"
	"testing"
)

func TestMatchList(t *testing.T) {
	for _, tt := range []struct {
		patterns, s string
		want        bool
	}{
		{"a", "a", true},
		{"a", "A", false},
		{"a", "ab", false},
		{"b,a", "a", true},
		{"*", "", true},
		{"*@example.com", "rel@example.com", true},
		{"*@example.com", "rel@example.org", false},
		{"?@example.com", "r@example.com", true},
		{"?@example.com", "@example.com", false},
		{"!a,*", "a", false},
		{"*,!a", "a", false},
		{"*,!a", "b", true},
		{"!a", "b", false},
		{"", "", false},
		{"a,,b", "", false},
		{"a*b*c", "aXbYc", true},
		{"[ab]", "a", false},
		{strings.Repeat("*a", 2000) + "b", strings.Repeat("a", 20_000), false}, // not slow either
	} {
		if got := MatchList(tt.patterns, tt.s); got != tt.want {
			t.Errorf("%.40q matches %.40q: %v, want %v", tt.patterns, tt.s, got, tt.want)
		}
	}
}
