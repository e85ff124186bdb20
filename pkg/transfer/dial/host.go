package dial

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A Host is a place to log in to, as a user names it: an alias of ssh_config, a DNS name or an address.
type Host struct {
	User string // empty: ssh_config decides
	Name string // without brackets
	Port int    // 0: ssh_config decides
}

// ParseHost reads [user@]name[:port], [user@][address]:port and ssh://[user@]name[:port]. The parts of the result are
// safe on a command line after "--" and inside a shell word: they start with no dash and hold no white space, no
// control character and no character with a meaning to a shell. Errors are of KindUsage.
func ParseHost(s string) (Host, error) {
	if rest, ok := strings.CutPrefix(s, "ssh://"); ok {
		return parseURI(s, rest)
	}
	var h Host
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		h.User, s = s[:i], s[i+1:]
		if h.User == "" {
			return Host{}, badHost(s, "the user before @ is empty")
		}
	}
	return h.at(s)
}

func parseURI(s, rest string) (Host, error) {
	var h Host
	rest = strings.TrimSuffix(rest, "/")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		name, _, _ := strings.Cut(rest[:i], ";") // connection parameters of the draft; ssh ignores them too
		user, err := url.PathUnescape(name)
		if err != nil || user == "" {
			return Host{}, badHost(s, "the user is not written as in a URI")
		}
		h.User, rest = user, rest[i+1:]
	}
	return h.at(rest)
}

// at fills in name and port from "name[:port]" and checks all parts.
func (h Host) at(s string) (Host, error) {
	name, port := splitPort(s)
	h.Name = name
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Host{}, badHost(s, "the port is not a number from 1 to 65535")
		}
		h.Port = int(n)
	}
	if err := checkName(h.Name); err != "" {
		return Host{}, badHost(s, err)
	}
	if err := checkUser(h.User); err != "" {
		return Host{}, badHost(s, err)
	}
	return h, nil
}

// splitPort leaves the port empty when there is none. An address with several colons and no brackets has none.
func splitPort(s string) (name, port string) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		name, port, ok := strings.Cut(rest, "]")
		switch {
		case !ok:
			return s, ""
		case port == "":
			return name, ""
		case strings.HasPrefix(port, ":") && len(port) > 1:
			return name, port[1:]
		}
		return s, ""
	}
	if name, port, ok := strings.Cut(s, ":"); ok && !strings.Contains(port, ":") {
		if port == "" {
			port = "0" // "host:" is refused like any other port that is none
		}
		return name, port
	}
	return s, ""
}

// checkName says what is wrong with a host name, "" when nothing is.
func checkName(s string) string {
	switch {
	case s == "":
		return "the name is empty"
	case len(s) > 255:
		return "the name is too long"
	case s[0] == '-':
		return "a name does not start with a dash"
	case strings.ContainsAny(s, ":%") && !isAddress(s):
		return "this is not an IPv6 address"
	}
	return checkLetters(s, "._-+:%")
}

// checkUser is checkName for user names; an empty one is fine.
func checkUser(s string) string {
	switch {
	case s == "":
		return ""
	case len(s) > 255:
		return "the user name is too long"
	case s[0] == '-':
		return "a user name does not start with a dash"
	}
	return checkLetters(s, `._-+@\`)
}

// checkAlias is checkName for HostKeyAlias, which is only ever a word in known_hosts and so may be "[name]:port".
func checkAlias(s string) string {
	if len(s) > 255 {
		return "the name is too long"
	}
	return checkLetters(s, "._-+:%[]/")
}

func checkLetters(s, others string) string {
	for _, c := range s {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune(others, c):
		default:
			return strconv.QuoteRuneToASCII(c) + " is not allowed here"
		}
	}
	return ""
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func badHost(s, why string) error {
	return manifest.Fail(manifest.KindUsage, "read host", "%q is not a host: %s", s, why).
		Advise("a host is written [user@]name[:port], as an alias of ssh_config, or as ssh://[user@]name[:port]")
}

// String returns the host as ParseHost reads it.
func (h Host) String() string {
	s := h.Name
	if strings.Contains(s, ":") && h.Port != 0 {
		s = "[" + s + "]"
	}
	if h.User != "" {
		s = h.User + "@" + s
	}
	if h.Port != 0 {
		s += ":" + strconv.Itoa(h.Port)
	}
	return s
}
