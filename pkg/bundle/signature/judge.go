package signature

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/sshkey"
)

// A question is what is asked of allowed_signers about a valid signature.
type question struct {
	key       ssh.PublicKey // or a certificate
	namespace string
	principal string // who it must be; empty: whoever the file says
	at        time.Time
}

// A verdict is what one line says. A line about another key says nothing.
type verdict struct {
	principal string // who signed; empty: the line does not vouch for it
	why       string // why not
	time      bool   // the reason is the time
}

// judge returns false when the line is not about the key.
func (l signerLine) judge(q question) (verdict, bool) {
	cert, _ := q.key.(*ssh.Certificate)
	switch {
	case !l.authority && sshkey.Same(l.key, q.key):
		return l.vouch(q, l.named()), true
	case l.authority && sshkey.Same(l.key, sshkey.Authority(q.key)):
		if v := checkCertificate(cert, q.at); v.why != "" {
			return v, true
		}
		return l.vouch(q, cert.ValidPrincipals), true
	case l.authority && sshkey.Same(l.key, q.key):
		return verdict{why: "has it as a certificate authority, which vouches for others and signs no bundles itself"}, true
	case !l.authority && sshkey.Same(l.key, sshkey.Plain(q.key)):
		return verdict{why: "has the key, but the signature was made with a certificate for it; the signer can name the key's .pub file to sign without"}, true
	case !l.authority && sshkey.Same(l.key, sshkey.Authority(q.key)):
		return verdict{why: "has the key of its certificate authority, but without the option cert-authority"}, true
	}
	return verdict{}, false
}

// named are the principals of the line, patterns as they are: git, too, takes a pattern for a name when no name is asked for.
func (l signerLine) named() []string {
	return slices.DeleteFunc(strings.Split(l.principals, ","), func(p string) bool { return strings.HasPrefix(p, "!") })
}

// vouch decides about a key that the line is for: as whom, for what, when. The first of names that the line allows counts.
func (l signerLine) vouch(q question, names []string) verdict {
	if q.principal != "" && !l.authority {
		names = []string{q.principal}
	}
	i := slices.IndexFunc(names, func(n string) bool {
		return (q.principal == "" || n == q.principal) && sshkey.MatchList(l.principals, n)
	})
	switch {
	case i < 0:
		return verdict{why: l.notFor(q)}
	case l.namespaces != nil && !sshkey.MatchList(*l.namespaces, q.namespace):
		return verdict{why: fmt.Sprintf("allows it only for %q, not for %q", manifest.Plain(*l.namespaces), q.namespace)}
	case !l.after.IsZero() && q.at.Before(l.after):
		return verdict{why: "allows it only from " + written(l.after), time: true}
	case !l.before.IsZero() && q.at.After(l.before):
		return verdict{why: "allowed it until " + written(l.before), time: true}
	}
	return verdict{principal: manifest.Plain(names[i])}
}

// notFor says why the line does not name the signer.
func (l signerLine) notFor(q question) string {
	who, names := "nobody", fmt.Sprintf("its principals are %q", manifest.Plain(l.principals))
	if q.principal != "" {
		who = fmt.Sprintf("%q", manifest.Plain(q.principal))
	}
	if cert, ok := q.key.(*ssh.Certificate); ok {
		names += fmt.Sprintf(", those of the certificate %q", manifest.Plain(strings.Join(cert.ValidPrincipals, ",")))
	}
	if q.principal == "" {
		return "vouches for " + who + ": " + names
	}
	return "does not vouch for " + who + ": " + names
}

// checkCertificate holds a certificate against the rules that are the same for every line.
func checkCertificate(cert *ssh.Certificate, at time.Time) verdict {
	now := uint64(max(0, at.Unix()))
	id := fmt.Sprintf("has its authority, but the certificate %q ", manifest.Plain(cert.KeyId))
	switch {
	case cert.CertType != ssh.UserCert:
		return verdict{why: id + "is one for hosts"}
	case len(cert.ValidPrincipals) == 0:
		return verdict{why: id + "says nobody's name"}
	case len(cert.CriticalOptions) > 0:
		return verdict{why: id + "is limited by " + optionNames(cert) + ", which makes it one for logins only"}
	case cert.Signature.Format == ssh.KeyAlgoRSA:
		return verdict{why: id + "was made with SHA-1"}
	case now < cert.ValidAfter:
		return verdict{why: id + "is valid only from " + certTime(cert.ValidAfter), time: true}
	case now >= cert.ValidBefore && cert.ValidBefore != ssh.CertTimeInfinity:
		return verdict{why: id + "was valid until " + certTime(cert.ValidBefore), time: true}
	}
	checker := ssh.CertChecker{Clock: func() time.Time { return time.Unix(int64(now), 0) }}
	if err := checker.CheckCert(cert.ValidPrincipals[0], cert); err != nil {
		return verdict{why: id + "is not valid: " + manifest.Plain(err.Error())}
	}
	return verdict{}
}

func optionNames(cert *ssh.Certificate) string {
	var names []string
	for name := range cert.CriticalOptions {
		names = append(names, manifest.Plain(name))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// certTime writes seconds since 1970, which a certificate may have more of than a calendar has years.
func certTime(seconds uint64) string {
	if seconds > 1<<40 {
		return "the far future"
	}
	return written(time.Unix(int64(seconds), 0))
}
