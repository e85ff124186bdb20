package dial

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// tokens are the values of the % tokens of ssh_config(5) for one host. Two of OpenSSH's are not known: %C and %f.
type tokens map[byte]string

// tokens also fills in the user when ssh_config names none: the one who runs this program.
func (s *settings) tokens() (tokens, error) {
	me, err := whoAmI()
	if err != nil {
		return nil, err
	}
	if s.user == "" {
		s.user = me.Username
	}
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	short, _, _ := strings.Cut(name, ".")
	key := s.asked.Name
	if s.alias != "" {
		key = s.alias
	}
	return tokens{
		'%': "%", 'd': me.HomeDir, 'h': s.host, 'i': me.Uid, 'j': s.jump, 'k': key, 'L': short, 'l': name,
		'n': s.asked.Name, 'p': strconv.Itoa(s.port), 'r': s.user, 'u': me.Username,
	}, nil
}

// whoAmI asks the system and not HOME, as ssh does. On Windows the domain before the name is cut off.
func whoAmI() (*user.User, error) {
	me, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("find out who runs this program: %w", err)
	}
	if runtime.GOOS == "windows" {
		_, name, ok := strings.Cut(me.Username, `\`)
		if ok {
			short := *me
			short.Username = name
			return &short, nil
		}
	}
	return me, nil
}

// path expands ~, ${NAME} and % tokens in a file name.
func (t tokens) path(s string) (string, error) {
	if rest, ok := strings.CutPrefix(s, "__PROGRAMDATA__"); ok { // so ssh -G on Windows
		s = strings.ReplaceAll(os.Getenv("ProgramData"), "%", "%%") + rest
	}
	s, err := t.home(s)
	if err != nil {
		return "", err
	}
	if s, err = environment(s); err != nil {
		return "", err
	}
	return t.expand(s)
}

// home replaces a leading ~ or ~name.
func (t tokens) home(s string) (string, error) {
	rest, ok := strings.CutPrefix(s, "~")
	if !ok {
		return s, nil
	}
	end := strings.IndexAny(rest, `/\`)
	if end < 0 {
		end = len(rest)
	}
	home := t['d']
	if name := rest[:end]; name != "" {
		who, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("%s: %w", s, err)
		}
		home = who.HomeDir
	}
	return strings.ReplaceAll(home, "%", "%%") + rest[end:], nil
}

func environment(s string) (string, error) {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "${")
		out.WriteString(before)
		if !ok {
			return out.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		value, set := os.LookupEnv(name)
		switch {
		case !ok:
			return "", fmt.Errorf("no } after ${%s", clean(name))
		case !set:
			return "", fmt.Errorf("environment variable %s is not set", clean(name))
		}
		out.WriteString(value)
		s = after
	}
}

// expand replaces the % tokens, each once: what a token stands for is not looked at again.
func (t tokens) expand(s string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", fmt.Errorf("%q ends in %%", s)
		}
		value, ok := t[s[i]]
		if !ok {
			return "", fmt.Errorf("%q: %%%c is not known here", s, s[i])
		}
		out.WriteString(value)
	}
	return out.String(), nil
}

// splitPaths takes apart a list of files. ssh -G prints them with spaces between and without quotes, so a piece that
// does not look like the beginning of a path belongs to the one before it ("C:\Users\John Smith\.ssh\known_hosts").
func splitPaths(s string) []string {
	var paths []string
	for _, piece := range strings.Split(s, " ") {
		last := len(paths) - 1
		switch {
		case piece == "" && last < 0:
		case last < 0, startsPath(piece), !startsPath(paths[last]) || exists(piece):
			paths = append(paths, piece)
		default:
			paths[last] += " " + piece
		}
	}
	for i := range paths {
		paths[i] = strings.TrimRight(paths[i], " ")
	}
	return paths
}

func startsPath(s string) bool {
	return strings.EqualFold(s, "none") || strings.HasPrefix(s, "~") || strings.HasPrefix(s, "%") || strings.HasPrefix(s, "${") ||
		strings.HasPrefix(s, "/") || strings.HasPrefix(s, `\`) || filepath.IsAbs(s) || strings.HasPrefix(s, "__PROGRAMDATA__")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
