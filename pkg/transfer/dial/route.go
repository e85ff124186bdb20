package dial

import (
	"context"
	"errors"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/sshkey"
)

// A route is the way to a host with everything about it found out: what ssh_config says about each hop, the known
// host keys, the private keys. It serves any number of connections, also at the same time.
type route struct {
	name  string // the host as the user wrote it
	hops  []*hop // jump hosts first; the last is the host itself
	asker *asker
	alive keepAlive
}

// A hop is one SSH server on the way.
type hop struct {
	name     string // as the user or ProxyJump wrote it
	last     bool   // it is the host itself
	settings settings
	keys     []*sshkey.File
	named    []string        // key files that the user named with -i
	certs    []ssh.PublicKey // of CertificateFile
	doorman  *doorman
	asker    *asker
	warn     func(string)

	mu       sync.Mutex
	good     ssh.PublicKey // what the last login succeeded with
	hostKeys []string      // the kinds of host key among which the pinned one was found
}

// maxHops bounds a chain of jump hosts.
const maxHops = 16

// A planner builds a route.
type planner struct {
	warn func(string)
	ask  *asker
	seen map[string]bool
}

func plan(ctx context.Context, name string, o Options) (*route, error) {
	asked, err := ParseHost(name)
	if err != nil {
		return nil, err
	}
	if o.HostFingerprint, err = checkFingerprint(o.HostFingerprint); err != nil {
		return nil, err
	}
	p := &planner{warn: once(o.Warn), ask: newAsker(o.Prompt), seen: map[string]bool{}}
	for _, id := range o.Identities {
		if !exists(id) {
			p.warn("identity " + id + " left out: there is no such file")
		}
	}
	hops, err := p.hops(ctx, name, asked, o)
	if err != nil {
		return nil, err
	}
	last := hops[len(hops)-1]
	last.last, last.doorman.last = true, true
	return &route{name: name, hops: hops, asker: p.ask, alive: chooseKeepAlive(o, &last.settings)}, nil
}

// hops finds the hops to a host, itself last. The last jump host in a list is reached through those before it, and
// the first as its own configuration says, as ssh does.
func (p *planner) hops(ctx context.Context, name string, asked Host, o Options) ([]*hop, error) {
	s, err := configure(ctx, asked, o, p.warn)
	if err != nil {
		return nil, err
	}
	if o.ConnectTimeout > 0 {
		s.timeout = o.ConnectTimeout
	}
	as := asked.String() // its address may come twice: what a private one means depends on from where it is seen
	if p.seen[as] || len(p.seen) >= maxHops {
		return nil, manifest.Fail(manifest.KindUsage, "read ssh_config", "the jump hosts go round in a circle, or are too many: %s", as)
	}
	p.seen[as] = true
	before, err := p.jumps(ctx, s.jump, o)
	if err != nil {
		return nil, err
	}
	h, err := p.hop(name, s, o)
	return append(before, h), err
}

func (p *planner) jumps(ctx context.Context, list string, o Options) ([]*hop, error) {
	if list == "" {
		return nil, nil
	}
	rest, name := "", list
	if i := strings.LastIndexByte(list, ','); i >= 0 {
		rest, name = list[:i], list[i+1:]
	}
	asked, err := ParseHost(strings.TrimSpace(name))
	if err != nil {
		return nil, manifest.Fail(manifest.KindUsage, "read ProxyJump", "%w", errors.Unwrap(err))
	}
	return p.hops(ctx, name, asked, Options{ConfigFile: o.ConfigFile, Jump: rest, AcceptNew: o.AcceptNew, ConnectTimeout: o.ConnectTimeout})
}

func (p *planner) hop(name string, s settings, o Options) (*hop, error) {
	h := &hop{name: name, settings: s, named: o.Identities, asker: p.ask, warn: p.warn}
	if s.batch {
		h.asker = newAsker(nil)
	}
	for _, path := range s.identities {
		if k, err := sshkey.Open(path); err == nil {
			h.keys = append(h.keys, k)
		}
	}
	for _, path := range s.certificates {
		cert, ok := sshkey.ReadPublic(path).(*ssh.Certificate)
		if !ok {
			p.warn("CertificateFile " + path + " holds no certificate")
			continue
		}
		h.certs = append(h.certs, cert)
	}
	var err error
	h.doorman, err = newDoorman(&h.settings, o, p.warn)
	return h, err
}

// checkFingerprint returns the fingerprint of an option as x/crypto writes it.
func checkFingerprint(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	fingerprint, err := sshkey.ParseFingerprint(s)
	if err != nil {
		return "", manifest.Fail(manifest.KindUsage, "read options", "host key: %w", err).
			Advise("on the host, ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub prints it")
	}
	return fingerprint, nil
}

// certificatesFor returns the certificates of CertificateFile for a key.
func (h *hop) certificatesFor(key ssh.PublicKey) (out []ssh.PublicKey) {
	for _, c := range h.certs {
		if key != nil && sshkey.Same(sshkey.Plain(c), key) {
			out = append(out, c)
		}
	}
	return out
}

// namesKey reports whether the configuration names a key of the agent, by IdentityFile or CertificateFile.
func (h *hop) namesKey(key ssh.PublicKey) bool {
	for _, k := range h.keys {
		if k.Public != nil && sshkey.Same(sshkey.Plain(k.Public), sshkey.Plain(key)) {
			return true
		}
	}
	return len(h.certificatesFor(sshkey.Plain(key))) > 0
}

func (h *hop) lastGood() ssh.PublicKey {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.good
}

// once makes a warning function that passes each text on once, from any goroutine.
func once(warn func(string)) func(string) {
	var mu sync.Mutex
	seen := map[string]bool{}
	return func(text string) {
		mu.Lock()
		defer mu.Unlock()
		if warn == nil || seen[text] {
			return
		}
		seen[text] = true
		warn(clean(text))
	}
}
