package triton

import "strings"

// checkKnown looks for fields that no server knows, or not the one that shall serve the model. A server refuses the whole
// configuration for a single unknown field.
func (c *checker) checkKnown(fields []*field, in string) {
	m := configSchema().messages[in]
	for _, f := range fields {
		if c.full() {
			return
		}
		if f.of == nil {
			c.unknown(f, m)
			continue
		}
		c.checkSpan(f, f.name, f.of.span)
		if f.isMessage {
			c.checkKnown(f.fields, f.of.typ)
		}
		if e := configSchema().enums[f.of.typ]; e != nil {
			if v := e.value(f.text); v != nil {
				c.checkSpan(f, v.name, v.span)
			}
		}
	}
}

// unknown notes a field that is not in the table. It may be one of a server that is newer than the table, unless it looks
// like a slip of the pen.
func (c *checker) unknown(f *field, m *message) {
	where := "here"
	if m.name == "ModelConfig" {
		where = "in a configuration"
	}
	best, owner := nearest(f.name, m.names()), ownerOf(f.name)
	if best == "" && owner == "" && (c.Version.IsZero() || newest.Before(c.Version)) {
		c.warn(RuleUnknownField, c.in(f), "%q is no field that Triton up to %s knows %s; a server that does not know it refuses the whole configuration", f.name, newest, where).
			advise("remove it, unless your server is newer than that")
		return
	}
	found := c.refuse(RuleUnknownField, c.in(f), "Triton knows no field %q %s, and refuses the whole configuration because of it", f.name, where)
	switch {
	case best != "":
		found.advise("did you mean %s?", best)
	case owner != "":
		found.advise("move it to where it belongs, %s, or remove it", owner)
	default:
		found.advise("remove it")
	}
}

// ownerOf names a field whose message has a field called name: somebody may only have closed a bracket too late.
func ownerOf(name string) string {
	for _, of := range configSchema().order {
		for _, f := range configSchema().messages[of].all() {
			if m := configSchema().messages[f.typ]; m.field(name) != nil && !strings.HasPrefix(m.name, "Entry_") {
				return f.name
			}
		}
	}
	return ""
}

// checkSpan notes what is newer than the server.
func (c *checker) checkSpan(f *field, name string, s span) {
	v := c.Version
	switch {
	case v.IsZero() || s.since.IsZero() || !v.Before(s.since):
	case !s.absent.IsZero() && !s.absent.Before(v):
		c.refuse(RuleNewer, c.in(f), "Triton %s does not know %s and refuses the whole configuration because of it", v, name).
			advise("remove it, or use a server from %s on", s.since)
	default:
		c.warn(RuleNewer, c.in(f), "Triton %s may be too old for %s, and would then refuse the whole configuration", v, name).
			advise("remove it, or use a server from %s on", s.since)
	}
}

// nearest returns the one of words that somebody who wrote typed may have meant; empty when none is near.
func nearest(typed string, words []string) string {
	best, least := "", max(1, len(typed)/4)+1
	for _, w := range words {
		d := edits(strings.ToLower(typed), strings.ToLower(w))
		if len(w) > 6 && strings.Contains(typed, w) {
			d = 1
		}
		if d < least && d < len(w) {
			best, least = w, d
		}
	}
	return best
}

// edits counts the insertions, deletions, replacements and swaps of neighbours that turn a into b.
func edits(a, b string) int {
	if diff := len(a) - len(b); diff > 64 || diff < -64 || len(a) > 256 {
		return 256
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
