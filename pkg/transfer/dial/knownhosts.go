package dial

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/clara-push/clara-push/pkg/sshkey"
)

// A knownLine is one line of a known_hosts file that was understood.
type knownLine struct {
	file   string
	number int
	marker string // "", "cert-authority" or "revoked"
	hosts  string // patterns with commas between, or one hash
	key    ssh.PublicKey
}

func (l knownLine) where() string { return fmt.Sprintf("%s:%d", l.file, l.number) }

// knownHosts are the lines of all known_hosts files of a host, and keys accepted since.
type knownHosts struct {
	mu    sync.RWMutex
	lines []knownLine
}

func (k *knownHosts) add(l knownLine) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines = append(k.lines, l)
}

// maxKnownHosts bounds what is read of one file; the largest in use have some megabytes.
const maxKnownHosts = 64 << 20

// readKnownHosts reads the files that exist. A line that is broken or of an unknown kind is left out, as ssh does;
// one warning a file names the lines.
func readKnownHosts(files []string, warn func(string)) *knownHosts {
	k := &knownHosts{}
	for _, f := range files {
		bad, err := k.read(f)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			warn("known hosts left out: " + err.Error())
		}
		if len(bad) > 0 {
			warn(fmt.Sprintf("%s:%s: not understood and left out", f, strings.Join(bad, ",")))
		}
	}
	return k
}

func (k *knownHosts) read(file string) (bad []string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewReaderSize(io.LimitReader(f, maxKnownHosts), 64<<10)
	for n := 1; ; n++ {
		text, err := lines.ReadBytes('\n')
		if text = bytes.TrimSpace(text); len(text) > 0 && text[0] != '#' {
			if l, ok := parseKnownLine(text); ok {
				l.file, l.number = file, n
				k.add(l)
			} else {
				bad = append(bad, strconv.Itoa(n))
			}
		}
		if err == io.EOF {
			return bad, nil
		}
		if err != nil {
			return bad, err
		}
	}
}

func parseKnownLine(text []byte) (knownLine, bool) {
	marker, hosts, key, _, _, err := ssh.ParseKnownHosts(text)
	if err != nil {
		return knownLine{}, false
	}
	switch marker {
	case "", "cert-authority", "revoked":
		return knownLine{marker: marker, hosts: strings.Join(hosts, ","), key: key}, true
	}
	return knownLine{}, false
}

// names reports whether the line is about a host, which is written "name" or "[name]:port", in lower case.
func (l knownLine) names(host string) bool {
	if strings.HasPrefix(l.hosts, "|") {
		return l.hashes(host)
	}
	return sshkey.MatchList(strings.ToLower(l.hosts), host)
}

// hashes compares with a hashed name: |1|salt|HMAC-SHA1, both in base64.
func (l knownLine) hashes(host string) bool {
	parts := strings.Split(l.hosts, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return false
	}
	salt, err1 := base64.StdEncoding.DecodeString(parts[2])
	want, err2 := base64.StdEncoding.DecodeString(parts[3])
	if err1 != nil || err2 != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(host))
	return hmac.Equal(mac.Sum(nil), want)
}

// about returns the lines with a marker that are about a host.
func (k *knownHosts) about(host, marker string) []knownLine {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var out []knownLine
	for _, l := range k.lines {
		if l.marker == marker && l.names(host) {
			out = append(out, l)
		}
	}
	return out
}

// A place is how known_hosts writes a host.
type place struct {
	name      string // what is looked for and recorded
	bare      string // the name without its port, which also counts when it vouches for the key; empty: none
	principal string // what a host certificate must name
}

func (s *settings) place() place {
	if s.alias != "" {
		return place{name: s.alias, principal: s.alias}
	}
	host := s.host
	if !isAddress(host) {
		host = strings.ToLower(host)
	}
	if s.port == 22 {
		return place{name: host, principal: host}
	}
	return place{name: knownhosts.Normalize(net.JoinHostPort(host, strconv.Itoa(s.port))), bare: host, principal: host}
}

// verdict is what known_hosts says about a key.
type verdict int

const (
	keyUnknown verdict = iota
	keyKnown
	keyChanged
	keyRevoked
)

// judge decides as OpenSSH does. A certificate that no authority of the host vouches for counts as the plain key in
// it. The key of an authority is never accepted as a plain key. lines are those that decided.
func (k *knownHosts) judge(p place, key ssh.PublicKey) (v verdict, lines []knownLine) {
	for _, name := range p.all() {
		for _, l := range k.about(name, "revoked") {
			if sshkey.Same(l.key, sshkey.Plain(key)) || sshkey.Same(l.key, sshkey.Authority(key)) {
				return keyRevoked, []knownLine{l}
			}
		}
	}
	if l, ok := k.vouches(p, key); ok {
		return keyKnown, []knownLine{l}
	}
	for _, name := range p.all() {
		found := k.about(name, "")
		for _, l := range found {
			if sshkey.Same(l.key, sshkey.Plain(key)) {
				return keyKnown, []knownLine{l}
			}
		}
		if len(found) > 0 && name == p.name {
			return keyChanged, found
		}
	}
	return keyUnknown, nil
}

// vouches finds the authority that makes a host certificate a good one.
func (k *knownHosts) vouches(p place, key ssh.PublicKey) (knownLine, bool) {
	cert, ok := key.(*ssh.Certificate)
	if !ok || checkHostCert(cert, p.principal) != nil {
		return knownLine{}, false
	}
	for _, name := range p.all() {
		for _, l := range k.about(name, "cert-authority") {
			if sshkey.Same(l.key, cert.SignatureKey) {
				return l, true
			}
		}
	}
	return knownLine{}, false
}

func (p place) all() []string {
	if p.bare == "" {
		return []string{p.name}
	}
	return []string{p.name, p.bare}
}

// checkHostCert checks everything about a host certificate but who signed it.
func checkHostCert(cert *ssh.Certificate, principal string) error {
	if cert.CertType != ssh.HostCert {
		return errors.New("not a host certificate")
	}
	if cert.Signature.Format == ssh.KeyAlgoRSA {
		return errors.New("signed with SHA-1") // OpenSSH refuses it since 8.2
	}
	checker := ssh.CertChecker{Clock: time.Now}
	return checker.CheckCert(principal, cert)
}

// kinds lists the types of key that known_hosts has for a host, first the best, and whether it has an authority.
func (k *knownHosts) kinds(p place) (types []string, hasAuthority bool) {
	for _, name := range p.all() {
		for _, l := range k.about(name, "") {
			types = append(types, l.key.Type())
		}
		hasAuthority = hasAuthority || len(k.about(name, "cert-authority")) > 0
	}
	return types, hasAuthority
}
