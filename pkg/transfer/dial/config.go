package dial

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// values are the settings of one host as ssh_config has them: by keyword in lower case, in order. Where a keyword
// takes the first value that is found, only the first counts.
type values map[string][]string

func (v values) first(key string) string {
	if len(v[key]) == 0 {
		return ""
	}
	return v[key][0]
}

// on reports whether a yes-or-no keyword is set, and unset when there is no such keyword.
func (v values) on(key string, unset bool) bool {
	switch strings.ToLower(v.first(key)) {
	case "":
		return unset
	case "no", "false":
		return false
	}
	return true
}

// settings are what we need to know of one host, all names and paths expanded.
type settings struct {
	asked Host   // as it was asked for
	host  string // where to connect to
	port  int
	user  string
	alias string // HostKeyAlias, in lower case

	identities     []string
	certificates   []string
	identitiesOnly bool
	agent          string // socket, pipe, "none"; empty: the usual one
	pubkey         bool
	password       bool
	interactive    bool
	batch          bool
	preferred      []string // PreferredAuthentications; empty: our order
	keyTypes       []string // PubkeyAcceptedAlgorithms; empty: all

	jump         string // ProxyJump, empty for none
	proxyCommand string // unexpanded, empty for none
	family       string // tcp, tcp4, tcp6
	bind         string

	userKnown   []string
	globalKnown []string
	revoked     string
	strict      strictness
	hashNames   bool
	hostKeys    []string // HostKeyAlgorithms; empty: ours
	ciphers     []string
	exchanges   []string
	macs        []string

	timeout    time.Duration // 0: none set
	alive      time.Duration // 0: none set
	unanswered int
}

// strictness says what to do with the key of an unknown host.
type strictness int

const (
	askUnknown strictness = iota
	refuseUnknown
	acceptUnknown
)

// configure finds the settings of a host.
func configure(ctx context.Context, asked Host, o Options, warn func(string)) (settings, error) {
	v, err := lookUp(ctx, asked, o, warn)
	if err != nil {
		return settings{}, err
	}
	s, err := settle(v, asked, warn)
	if err != nil {
		return settings{}, err
	}
	return s, s.check()
}

func settle(v values, asked Host, warn func(string)) (settings, error) {
	s := settings{
		asked: asked, host: v.first("hostname"), user: v.first("user"), alias: strings.ToLower(unlessNone(v.first("hostkeyalias"))),
		identitiesOnly: v.on("identitiesonly", false), pubkey: v.on("pubkeyauthentication", true), password: v.on("passwordauthentication", true),
		interactive: v.on("kbdinteractiveauthentication", true), batch: v.on("batchmode", false),
		jump: unlessNone(v.first("proxyjump")), proxyCommand: unlessNone(v.first("proxycommand")),
		bind: v.first("bindaddress"), hashNames: v.on("hashknownhosts", false),
		preferred: list(v.first("preferredauthentications")), keyTypes: list(v.first("pubkeyacceptedalgorithms")),
		hostKeys: list(v.first("hostkeyalgorithms")), ciphers: list(v.first("ciphers")), exchanges: list(v.first("kexalgorithms")), macs: list(v.first("macs")),
	}
	if unlessNone(v.first("knownhostscommand")) != "" {
		warn("KnownHostsCommand of ssh_config is not used: only known_hosts files are")
	}
	if v.on("proxyusefdpass", false) {
		return s, manifest.Fail(manifest.KindUsage, "read ssh_config", "ProxyUseFdpass is set, which only ssh itself can do")
	}
	if len(s.keyTypes) == 0 {
		s.keyTypes = list(v.first("pubkeyacceptedkeytypes")) // its name before OpenSSH 8.5
	}
	s.family = map[string]string{"inet": "tcp4", "inet6": "tcp6"}[strings.ToLower(v.first("addressfamily"))]
	if s.family == "" {
		s.family = "tcp"
	}
	if s.host == "" {
		s.host = asked.Name
	}
	s.strict = strict(v.first("stricthostkeychecking"), warn)
	if err := s.numbers(v); err != nil {
		return s, err
	}
	return s, s.paths(v, warn)
}

func strict(value string, warn func(string)) strictness {
	switch strings.ToLower(value) {
	case "yes", "true":
		return refuseUnknown
	case "no", "off", "false":
		warn("StrictHostKeyChecking is off in ssh_config: taken as accept-new, a changed host key is refused all the same")
		return acceptUnknown
	case "accept-new":
		return acceptUnknown
	}
	return askUnknown
}

func (s *settings) numbers(v values) (err error) {
	read := func(key string, unset int) int {
		text := v.first(key)
		if text == "" || text == "none" || err != nil {
			return unset
		}
		n, bad := parseSeconds(text)
		if bad != nil || n < 0 {
			err = manifest.Fail(manifest.KindUsage, "read ssh_config", "%s %q is not a number", key, text)
		}
		return n
	}
	s.port = read("port", 22)
	s.timeout = time.Duration(read("connecttimeout", 0)) * time.Second
	s.alive = time.Duration(read("serveraliveinterval", 0)) * time.Second
	if s.batch && s.alive == 300*time.Second {
		s.alive = 0 // Debian's ssh sets this by itself with BatchMode; it is no wish of the user
	}
	s.unanswered = read("serveralivecountmax", defaultUnanswered)
	if err == nil && (s.port < 1 || s.port > 65535) {
		err = manifest.Fail(manifest.KindUsage, "read ssh_config", "port %d does not exist", s.port)
	}
	return err
}

// parseSeconds reads a number, or a time such as 1m30s, which ssh_config allows for times.
func parseSeconds(s string) (int, error) {
	if n, err := strconv.Atoi(s); err == nil {
		return n, nil
	}
	d, err := time.ParseDuration(strings.ToLower(s))
	return int(d / time.Second), err
}

// paths expands what names a file. An entry that cannot be expanded is left out with a warning: another may serve.
func (s *settings) paths(v values, warn func(string)) error {
	t, err := s.tokens()
	if err != nil {
		return err
	}
	expand := func(key string, in []string) (out []string) {
		for _, p := range in {
			if strings.EqualFold(p, "none") {
				continue
			}
			p, err := t.path(p)
			if err != nil {
				warn(key + " in ssh_config left out: " + err.Error())
				continue
			}
			out = append(out, p)
		}
		return out
	}
	s.identities = expand("IdentityFile", v["identityfile"])
	s.certificates = expand("CertificateFile", v["certificatefile"])
	s.userKnown = expand("UserKnownHostsFile", splitPaths(v.first("userknownhostsfile")))
	s.globalKnown = expand("GlobalKnownHostsFile", splitPaths(v.first("globalknownhostsfile")))
	if r := expand("RevokedHostKeys", v["revokedhostkeys"]); len(r) > 0 {
		s.revoked = r[0]
	}
	switch a := v.first("identityagent"); {
	case strings.EqualFold(a, "none"):
		s.agent = "none"
	case strings.HasPrefix(a, "$") && !strings.HasPrefix(a, "${"):
		s.agent = os.Getenv(a[1:])
	case a != "" && a != "SSH_AUTH_SOCK":
		s.agent = a
		if out := expand("IdentityAgent", []string{a}); len(out) > 0 {
			s.agent = out[0]
		}
	}
	return nil
}

// check refuses what must not reach a shell or a message as it is.
func (s *settings) check() error {
	if why := checkName(s.host); why != "" {
		return manifest.Fail(manifest.KindUsage, "read ssh_config", "HostName %q: %s", s.host, why)
	}
	if why := checkUser(s.user); why != "" {
		return manifest.Fail(manifest.KindUsage, "read ssh_config", "User %q: %s", s.user, why)
	}
	if s.alias != "" {
		if why := checkAlias(s.alias); why != "" {
			return manifest.Fail(manifest.KindUsage, "read ssh_config", "HostKeyAlias %q: %s", s.alias, why)
		}
	}
	return nil
}

// accepts reports whether a key of this type may be offered.
func (s *settings) accepts(keyType string) bool {
	if len(s.keyTypes) == 0 {
		return keyType != "ssh-dss"
	}
	for _, t := range signatureTypes(keyType) {
		if slices.Contains(s.keyTypes, t) {
			return true
		}
	}
	return false
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func unlessNone(s string) string {
	if strings.EqualFold(s, "none") {
		return ""
	}
	return s
}
