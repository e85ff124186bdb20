package signature

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/sshkey"
)

const hintDamaged = "the bundle was changed or damaged after it was signed: copy it again from where it was made; nothing lets it pass"

// unsigned is met by a bundle without a signature; nil when it may pass.
func (p Policy) unsigned() error {
	if p.lets() {
		return nil
	}
	f := manifest.Fail(manifest.KindPolicy, step, "the bundle is not signed")
	switch {
	case len(p.AllowedSigners) > 0:
		return f.Advise("have it signed (clara-push bundle --sign KEY) by somebody in %s; --allow-unsigned does not count where signers are known", strings.Join(p.AllowedSigners, ", "))
	case p.Principal != "":
		return f.Advise("have it signed (clara-push bundle --sign KEY) by %s, whose key belongs into %s", manifest.Plain(p.Principal), usualPlace())
	}
	return f.Advise("have it signed (clara-push bundle --sign KEY) and put the signer's key into %s; --allow-unsigned loads it as it is", usualPlace())
}

// stranger is met by a valid signature where nobody is known.
func (p Policy) stranger(key ssh.PublicKey) error {
	f := manifest.Fail(manifest.KindPolicy, step, "the bundle is signed by %s, and no signers are known here", describe(key))
	hint := fmt.Sprintf("ask the maker, not the bundle, whether this is the key; if it is, put this line into %s: %s", usualPlace(), p.line(key))
	if p.AllowUnsigned {
		return f.Advise("%s (--allow-unsigned does not say that it is by %s)", hint, manifest.Plain(p.Principal))
	}
	return f.Advise("%s (or load it unchecked with --allow-unsigned)", hint)
}

// line is what allowed_signers would have to say for key to count.
func (p Policy) line(key ssh.PublicKey) string {
	who, option := "NAME", ""
	if p.Principal != "" {
		who = manifest.Plain(p.Principal)
	}
	if ca := sshkey.Authority(key); ca != nil {
		key, option = ca, "cert-authority,"
	}
	return fmt.Sprintf("%s %snamespaces=%q %s", who, option, p.Namespace, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
}

// describe names a key and who certified it.
func describe(key ssh.PublicKey) string {
	if cert, ok := key.(*ssh.Certificate); ok {
		return fmt.Sprintf("%s, certified as %q by %s", sshkey.Describe(key), manifest.Plain(cert.KeyId), sshkey.Describe(cert.SignatureKey))
	}
	return sshkey.Describe(key)
}

// A refusal collects why lines that are about a key do not vouch for it.
type refusal struct {
	policy Policy
	key    ssh.PublicKey
	at     time.Time
	whose  string // time that is; empty: the clock's
	why    []string
	time   bool // some reason is the time
}

// maxReasons is how many lines a message tells of.
const maxReasons = 5

func (r *refusal) add(line string, v verdict) {
	r.time = r.time || v.time
	if len(r.why) < maxReasons {
		r.why = append(r.why, line+" "+v.why)
	}
}

func (r *refusal) failure() error {
	files := strings.Join(r.policy.AllowedSigners, ", ")
	if len(r.why) == 0 {
		return manifest.Fail(manifest.KindPolicy, step, "the bundle is signed by %s, which is not in %s", describe(r.key), files).
			Advise("ask the maker, not the bundle, whether this is the key; if it is, add this line: %s", r.policy.line(r.key))
	}
	why := strings.Join(r.why, "; ")
	if r.time {
		why += "; " + r.judged()
	}
	f := manifest.Fail(manifest.KindPolicy, step, "the bundle is signed by %s, which does not count: %s", describe(r.key), why)
	if r.time {
		return f.Advise("if the clock is wrong, set it, or give the right time with --verify-time; else ask the maker for a bundle signed with a key that is valid")
	}
	return f.Advise("ask the maker for a bundle signed as %s allows, or change what it allows", files)
}

// judged says by which time, and always what this machine's clock says, for it may be wrong.
func (r *refusal) judged() string {
	if r.whose == "" {
		return "judged by this machine's clock, which says " + written(r.at)
	}
	return fmt.Sprintf("judged as of %s (%s), while this machine's clock says %s", written(r.at), r.whose, written(r.policy.clock()))
}

// at names a line for people.
func (a *AllowedSigners) at(l signerLine) string { return fmt.Sprintf("%s:%d", a.name, l.number) }
