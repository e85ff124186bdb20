package signature

import (
	"fmt"
	"time"

	"github.com/hiddeco/sshsig"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/sshkey"
)

// A Policy says what a bundle's signature must be like before anything of the bundle is used. The zero value but for
// Namespace refuses everything.
type Policy struct {
	// Namespace is what signatures must have been made for. Check fails without one.
	Namespace string
	// AllowedSigners are allowed_signers files of this site; what any of them allows is allowed. None: nobody is known here.
	AllowedSigners []string
	// Revoked are lists of keys that count no more: public keys, fingerprints, or KRLs.
	Revoked []string
	// AllowUnsigned lets a bundle pass that is not signed, or not by somebody known, but only where nobody is known, so where
	// there are no AllowedSigners and no Principal. It never lets a bad signature pass.
	AllowUnsigned bool
	// Principal is who must have signed; empty: anybody in AllowedSigners.
	Principal string
	// VerifyTime is the time as of which keys must be valid; zero: the bundle's own claim, see Check.
	VerifyTime time.Time

	now func() time.Time // nil: time.Now
}

// Signed says who signed a bundle. The zero value is a bundle that nobody signed.
type Signed struct {
	// Principal is the signer's name as AllowedSigners, or the certificate, has it. It is empty when nobody here vouches for
	// the signer, which only AllowUnsigned lets pass.
	Principal string
	Key       string // fingerprint, "SHA256:…"
	Type      string // "ED25519"
	Authority string // fingerprint of who certified the key; empty without a certificate
	// Line is what vouches for the signer, "FILE:LINE".
	Line string
	// At is the time as of which this was judged.
	At time.Time
}

// String says it in one line for people.
func (s Signed) String() string {
	switch {
	case s.Key == "":
		return "not signed"
	case s.Principal == "":
		return fmt.Sprintf("signed by %s %s, which nobody here vouches for", s.Type, s.Key)
	}
	text := fmt.Sprintf("signed by %s (%s %s), as %s allows", s.Principal, s.Type, s.Key, s.Line)
	if s.Authority != "" {
		text += ", certified by " + s.Authority
	}
	return text
}

// step is what failures say was being done.
const step = "check signature"

// Check decides whether a bundle may be used, by the bytes of its index.json and of index.json.sig; nil is a bundle without
// one. An error is a *manifest.Failure: KindNotFound for a file of the policy that is not there, KindPolicy for all else.
// Files that cannot be read to their end are failures, also for bundles that would need none of them.
//
// Keys and certificates must have been valid at p.VerifyTime, else at claim, the time at which the bundle says it was signed,
// else, when claim is zero, now by this machine's clock. The claim lets a bundle be loaded after its signer's key was rotated,
// and on hosts whose clock is wrong. It is part of what is signed, so nobody but the signer could have set it: it protects
// against honest mistakes with keys that have expired. It does not protect against somebody who has stolen a key that has
// expired since: he can claim any time. Against him there is only revocation, which no time undoes.
func (p Policy) Check(index, sig []byte, claim time.Time) (Signed, error) {
	if p.Namespace == "" {
		return Signed{}, manifest.Fail(manifest.KindInternal, step, "the policy has no namespace")
	}
	t, err := p.read()
	if err != nil {
		return Signed{}, err
	}
	if sig == nil {
		return Signed{}, p.unsigned()
	}
	s, err := parse(sig)
	if err != nil {
		return Signed{}, manifest.Fail(manifest.KindPolicy, step, "the bundle's signature cannot be read: %s", manifest.Plain(err.Error())).Advise(hintDamaged)
	}
	if why := flaw(s); why != "" {
		return Signed{}, manifest.Fail(manifest.KindPolicy, step, "the bundle's signature, by %s, is not accepted: %s", sshkey.Describe(s.PublicKey), why).
			Advise("ask the maker to sign the bundle again with a better key: ssh-keygen -t ed25519 makes one")
	}
	if err := p.valid(index, s); err != nil {
		return Signed{}, err
	}
	for _, r := range t.revoked {
		if why := r.Why(s.PublicKey); why != "" {
			return Signed{}, manifest.Fail(manifest.KindPolicy, step, "%s", why).Advise("the key is known to be stolen or out of use: ask the maker for a bundle signed with another key")
		}
	}
	return p.known(s, t.allowed, claim)
}

// trust is what the files of a policy say.
type trust struct {
	allowed []*AllowedSigners
	revoked []*sshkey.Revoked
}

func (p Policy) read() (t trust, err error) {
	for _, path := range p.AllowedSigners {
		a, err := readTrust(path, ParseAllowedSigners)
		if err != nil {
			return t, err
		}
		t.allowed = append(t.allowed, a)
	}
	for _, path := range p.Revoked {
		r, err := readTrust(path, sshkey.ParseRevoked)
		if err != nil {
			return t, err
		}
		t.revoked = append(t.revoked, r)
	}
	return t, nil
}

// valid checks the signature itself, whoever made it.
func (p Policy) valid(index []byte, s *sshsig.Signature) error {
	if s.Namespace != p.Namespace {
		return manifest.Fail(manifest.KindPolicy, step, "the signature by %s was made for %q, not for %q", sshkey.Describe(s.PublicKey), manifest.Plain(s.Namespace), p.Namespace).
			Advise("it is a signature of something else: sign the bundle with clara-push bundle --sign KEY")
	}
	if err := verify(index, s, p.Namespace); err != nil {
		return manifest.Fail(manifest.KindPolicy, step, "the signature, which names the key %s, is not over this bundle: %s", sshkey.Describe(s.PublicKey), manifest.Plain(err.Error())).
			Advise(hintDamaged)
	}
	return nil
}

// known looks for a line that vouches for a valid signature.
func (p Policy) known(s *sshsig.Signature, allowed []*AllowedSigners, claim time.Time) (Signed, error) {
	at, whose := p.moment(claim)
	out := Signed{Key: sshkey.Fingerprint(s.PublicKey), Type: sshkey.Type(s.PublicKey), At: at}
	if ca := sshkey.Authority(s.PublicKey); ca != nil {
		out.Authority = sshkey.Fingerprint(ca)
	}
	if len(allowed) == 0 {
		if p.lets() {
			return out, nil
		}
		return Signed{}, p.stranger(s.PublicKey)
	}
	r := refusal{policy: p, key: s.PublicKey, whose: whose, at: at}
	for _, a := range allowed {
		for _, l := range a.lines {
			v, about := l.judge(question{key: s.PublicKey, namespace: p.Namespace, principal: p.Principal, at: at})
			if v.principal != "" {
				out.Principal, out.Line = v.principal, a.at(l)
				return out, nil
			}
			if about {
				r.add(a.at(l), v)
			}
		}
	}
	return Signed{}, r.failure()
}

// moment is when keys must be valid, in whole seconds as files have it, and whose time that is; "" is the clock's.
func (p Policy) moment(claim time.Time) (at time.Time, whose string) {
	switch {
	case !p.VerifyTime.IsZero():
		at, whose = p.VerifyTime, "the time of --verify-time"
	case !claim.IsZero():
		at, whose = claim, "the bundle's own signing time"
	default:
		at = p.clock()
	}
	return at.Truncate(time.Second), whose
}

func (p Policy) clock() time.Time {
	if p.now != nil {
		return p.now()
	}
	return time.Now()
}

// lets reports whether what nobody vouches for may pass.
func (p Policy) lets() bool {
	return p.AllowUnsigned && len(p.AllowedSigners) == 0 && p.Principal == ""
}
