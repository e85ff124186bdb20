package dial

import (
	"strings"

	"github.com/clara-push/clara-push/pkg/sshkey"
)

// match decides a Match line. A condition that only ssh can decide (exec, canonical, final and newer ones) makes the
// block not apply, with a warning.
func (r *configReader) match(conditions []string, where string) bool {
	all := true
	for i := 0; i < len(conditions); i++ {
		name, negated := strings.ToLower(conditions[i]), false
		if rest, ok := strings.CutPrefix(name, "!"); ok {
			name, negated = rest, true
		}
		if name == "all" {
			all = all && !negated
			continue
		}
		subject, known := r.subject(name)
		if !known || i+1 == len(conditions) {
			r.warn(where + ": this Match block is left out, \"" + clean(name) + "\" needs ssh itself")
			return false
		}
		i++
		all = all && sshkey.MatchList(conditions[i], subject) != negated
	}
	return all && len(conditions) > 0
}

// subject is what a condition compares with.
func (r *configReader) subject(condition string) (string, bool) {
	switch condition {
	case "originalhost":
		return r.asked.Name, true
	case "host":
		if name := r.values.first("hostname"); name != "" {
			return strings.ReplaceAll(name, "%h", r.asked.Name), true
		}
		return r.asked.Name, true
	case "user":
		if name := r.values.first("user"); name != "" {
			return name, true
		}
		return r.me, true
	case "localuser":
		return r.me, true
	}
	return "", false
}

// matchHosts decides a Host line: some pattern matches and no negated one does.
func matchHosts(patterns []string, name string) bool {
	return sshkey.MatchList(strings.Join(patterns, ","), name)
}

// splitLine takes a line of ssh_config apart into keyword, in lower case, and the rest. Empty lines and comments are
// not ok.
func splitLine(line string) (key, value string, ok bool) {
	line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
	if line == "" || line[0] == '#' {
		return "", "", false
	}
	end := strings.IndexAny(line, " \t=")
	switch {
	case end == 0:
		return "", "", false
	case end < 0:
		return strings.ToLower(line), "", true
	}
	value = strings.TrimLeft(line[end:], " \t")
	value = strings.TrimLeft(strings.TrimPrefix(value, "="), " \t")
	return strings.ToLower(line[:end]), value, true
}

// words takes a value apart as OpenSSH does: quotes keep spaces, a backslash keeps the quote after it, # starts a
// comment at the beginning of a word.
func words(s string) []string {
	var out []string
	var word strings.Builder
	var quote byte
	inside := false
	flush := func() {
		if inside {
			out = append(out, word.String())
		}
		word.Reset()
		inside = false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`"'\`, s[i+1]) >= 0:
			i++
			word.WriteByte(s[i])
			inside = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '"' || c == '\'':
			quote, inside = c, true
		case c == ' ' || c == '\t':
			flush()
		case c == '#' && !inside:
			return out
		default:
			word.WriteByte(c)
			inside = true
		}
	}
	flush()
	return out
}
