package sshkey

import "strings"

// MatchList matches s against patterns with commas between, as PATTERNS of ssh_config(5) has them: * and ? stand for any
// letters and any letter, and a negated pattern (!pattern) that matches decides.
func MatchList(patterns, s string) bool {
	found := false
	for p := range strings.SplitSeq(patterns, ",") {
		p, negated := strings.CutPrefix(p, "!")
		if p == "" || !glob(p, s) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// glob matches * and ? as ssh does: a dot is a letter like any other. Its time grows with len(pattern) × len(s) only.
func glob(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
