package main

import "strings"

// nearest returns the word that somebody who wrote typed may have meant; empty when none is near.
func nearest(typed string, words []string) string {
	best, least := "", max(2, len(typed)/3)+1
	for _, w := range words {
		d := edits(typed, w)
		switch {
		case len(typed) < 3:
		case strings.HasPrefix(w, typed):
			d = 1
		case strings.Contains(w, typed):
			d = min(d, 2)
		}
		if d < least && d < len(typed) {
			best, least = w, d
		}
	}
	return best
}

// edits counts the insertions, deletions and replacements that turn a into b (Levenshtein's distance).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
