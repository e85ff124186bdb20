package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// AllowedSigners is an allowed_signers file: who may sign, with which keys, for what and when.
type AllowedSigners struct {
	name  string
	lines []signerLine
}

// A signerLine vouches for a key, or for all that an authority certifies.
type signerLine struct {
	number        int
	principals    string // patterns with commas between
	authority     bool
	namespaces    *string // patterns; nil: any
	after, before time.Time
	key           ssh.PublicKey
}

const (
	maxAllowed = 1 << 20 // bytes of a file
	maxLine    = 16 << 10
)

// ParseAllowedSigners reads the format that ssh-keygen(1) tells under ALLOWED SIGNERS, and is stricter: a line that cannot be
// read makes the whole file an error, which names file and line, because nobody knows what that line was to say.
func ParseAllowedSigners(r io.Reader, name string) (*AllowedSigners, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxAllowed+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(data) > maxAllowed:
		return nil, fmt.Errorf("%s is larger than %s", name, manifest.FormatBytes(maxAllowed))
	}
	a := &AllowedSigners{name: name}
	for i, text := range strings.Split(string(data), "\n") {
		text = strings.Trim(text, " \t\r")
		if text == "" || text[0] == '#' {
			continue
		}
		l, err := parseSignerLine(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, mistaken(text, err))
		}
		l.number = i + 1
		a.lines = append(a.lines, l)
	}
	return a, nil
}

// parseSignerLine reads PRINCIPALS [OPTIONS] TYPE KEY [COMMENT].
func parseSignerLine(text string) (l signerLine, err error) {
	if len(text) > maxLine {
		return l, fmt.Errorf("the line is longer than %d bytes", maxLine)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || r == '\ufeff' }) {
		return l, errors.New("there is a control character, or a byte order mark, in the line")
	}
	rest, err := l.cutPrincipals(text)
	if err != nil {
		return l, err
	}
	word, rest := cutWord(rest)
	if !isKeyType(word) {
		if err := l.parseOptions(word); err != nil {
			return l, err
		}
		word, rest = cutWord(rest)
	}
	blob, _ := cutWord(rest)
	l.key, err = parseKey(word, blob)
	return l, err
}

// mistaken says better why a line cannot be read, where the file is one of those that people name by mistake.
func mistaken(text string, err error) error {
	if word, _ := cutWord(text); isKeyType(word) {
		return errors.New("this is a public key alone: write before it whose it is, as in: NAME " + manifest.Plain(text))
	}
	if strings.HasPrefix(text, "-----BEGIN ") {
		return errors.New("this is a key, or a certificate, in a file of its own: a line reads NAME ssh-ed25519 AAAA..., with the contents of a .pub file")
	}
	return err
}

// cutPrincipals takes the first field, which may stand in quotes as a whole.
func (l *signerLine) cutPrincipals(text string) (rest string, err error) {
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		l.principals, rest, ok = strings.Cut(quoted, `"`)
		if !ok || rest != "" && !blank(rest[0]) {
			return "", errors.New("the quote of the principals does not end, or something follows it")
		}
	} else if l.principals, rest = cutWord(text); strings.Contains(l.principals, `"`) {
		return "", errors.New("there is a quote inside the principals")
	}
	for p := range strings.SplitSeq(l.principals, ",") {
		if strings.TrimPrefix(p, "!") == "" {
			return "", errors.New("there is an empty principal")
		}
	}
	return strings.TrimLeft(rest, " \t"), nil
}

// cutWord takes a field that ends at white space outside quotes.
func cutWord(text string) (word, rest string) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && text[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case blank(c) && !quoted:
			return text[:i], strings.TrimLeft(text[i:], " \t")
		}
	}
	return text, ""
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// isKeyType tells the type of a key from options.
func isKeyType(word string) bool {
	return slices.ContainsFunc([]string{"ssh-", "ecdsa-", "sk-"}, func(p string) bool { return strings.HasPrefix(word, p) })
}

func parseKey(kind, blob string) (ssh.PublicKey, error) {
	switch {
	case !isKeyType(kind):
		return nil, fmt.Errorf("%q is no type of key", manifest.Plain(kind))
	case blob == "":
		return nil, errors.New("the key is missing")
	}
	data, err := base64.StdEncoding.DecodeString(blob)
	if err != nil {
		return nil, fmt.Errorf("the key is not whole: %w", err)
	}
	key, err := ssh.ParsePublicKey(data)
	if err != nil {
		return nil, fmt.Errorf("the key cannot be read: %w", err)
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return nil, errors.New("a certificate does not vouch for itself: put the key of its authority there, with the option cert-authority")
	}
	if key.Type() != kind {
		return nil, fmt.Errorf("the line says %s, the key is %s", manifest.Plain(kind), key.Type())
	}
	if why := weakness(key); why != "" {
		return nil, errors.New(why)
	}
	return key, nil
}
