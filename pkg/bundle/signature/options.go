package signature

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// parseOptions reads the options of a line, with commas between; each at most once.
func (l *signerLine) parseOptions(text string) error {
	seen := map[string]bool{}
	for text != "" {
		name, value, rest, err := cutOption(text)
		if err != nil {
			return err
		}
		if seen[name] {
			return fmt.Errorf("the option %s stands there twice", name)
		}
		seen[name] = true
		if err := l.set(name, value); err != nil {
			return err
		}
		text = rest
	}
	if !l.after.IsZero() && !l.before.IsZero() && !l.after.Before(l.before) {
		return errors.New("valid-before is not after valid-after")
	}
	return nil
}

// cutOption takes NAME or NAME="VALUE" off, in lower case, and the comma after it. The value is nil where there is none.
func cutOption(text string) (name string, value *string, rest string, err error) {
	end := strings.IndexAny(text, ",=")
	if end < 0 {
		return strings.ToLower(text), nil, "", nil
	}
	name, rest = strings.ToLower(text[:end]), text[end:]
	if quoted, ok := strings.CutPrefix(rest, `=`); ok {
		v, after, err := unquote(quoted)
		if err != nil {
			return "", nil, "", fmt.Errorf("the option %s: %w", manifest.Plain(name), err)
		}
		value, rest = &v, after
	}
	if rest == "" {
		return name, value, "", nil
	}
	if rest[0] != ',' || len(rest) == 1 {
		return "", nil, "", errors.New("after an option comes a comma and another one, or nothing")
	}
	return name, value, rest[1:], nil
}

// unquote reads a value in quotes; \" is a quote in it.
func unquote(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		return "", "", errors.New("its value must stand in quotes")
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == '"':
			i++
			b.WriteByte('"')
		case text[i] == '"':
			return b.String(), text[i+1:], nil
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", errors.New("its quote does not end")
}

func (l *signerLine) set(name string, value *string) error {
	if (name == "cert-authority") != (value == nil) {
		return fmt.Errorf("the option %s is not written so, or not known", manifest.Plain(name))
	}
	switch name {
	case "cert-authority":
		l.authority = true
	case "namespaces":
		l.namespaces = value
	case "valid-after":
		return setTime(&l.after, name, *value)
	case "valid-before":
		return setTime(&l.before, name, *value)
	default:
		return fmt.Errorf("the option %s is not known", manifest.Plain(name))
	}
	return nil
}

func setTime(t *time.Time, name, value string) (err error) {
	if *t, err = ParseTime(value); err != nil {
		return fmt.Errorf("the option %s: %w", name, err)
	}
	return nil
}
