package signature

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// allowedFiles are files that ssh-keygen and we must read the same way.
var allowedFiles = []string{
	"rel <maker>",
	"rel <maker> a comment",
	"\t rel \t <maker>",
	"# nobody\n\n   \n   # at all",
	"rel,chief@example.com <maker>",
	"*@example.com <maker>",
	"chief@example.???,re? <maker>",
	"!chief@example.com,* <maker>",
	"*,!rel <maker>",
	"!rel <maker>",
	"\"rel\" <maker>",
	"\"a b,rel\" <maker>",
	"rel namespaces=\"clara-push-bundle\" <maker>",
	"rel NAMESPACES=\"file,git\" <maker>",
	"rel namespaces=\"*,!file\" <maker>",
	"rel namespaces=\"\" <maker>",
	"rel namespaces=\"a\\\"b,file\" <maker>",
	"rel valid-after=\"20260601Z\" <maker>",
	"rel valid-before=\"20260601Z\" <maker>",
	"rel valid-before=\"202606010000\" <maker>",
	"rel valid-after=\"20260601000000Z\",valid-before=\"20260601000001Z\",namespaces=\"clara-*\" <maker>",
	"rel namespaces=\"file\" <maker>\nchief@example.com <maker>",
	"rel valid-before=\"20200101Z\" <maker>\nrel valid-after=\"20200101Z\" <maker>",
	"rel <rsa>\nrel <ecdsa>\nrel <other>",
	"chief@example.com <other>\nrel <rsa>",
	"rel cert-authority <ca>",
	"rel CERT-AUTHORITY <ca>",
	"* cert-authority <ca>",
	"*@example.com cert-authority <ca>",
	"!rel,* cert-authority <ca>",
	"rel cert-authority <maker>",
	"rel <ca>",
	"rel cert-authority <other>",
	"rel cert-authority,namespaces=\"file\" <ca>",
	"rel cert-authority,valid-before=\"20260601Z\" <ca>",
	"rel valid-after=\"20270601Z\",cert-authority <ca>\nrel <maker>",
	"rel <maker>\r\nchief@example.com <other>\r\n",
}

type signedCase struct {
	name string
	sig  func(testing.TB) []byte
	has  []string // principals of the certificate
}

// signatures are by every kind of key; validity of certificates is the year 2026.
var signatures = []signedCase{
	{"maker", by("maker", space, index), nil},
	{"for files", by("maker", "file", index), nil},
	{"other bytes", by("maker", space, "else"), nil},
	{"other", by("other", space, index), nil},
	{"rsa", by("rsa", space, index), nil},
	{"ecdsa", by("ecdsa", space, index), nil},
	{"authority", by("ca", space, index), nil},
	{"certified", certified(nil, "rel"), []string{"rel"}},
	{"certified for two", certified(nil, "chief@example.com", "rel"), []string{"chief@example.com", "rel"}},
	{"certified for nobody", certified(nil), nil},
	{"certified for a pattern", certified(nil, "*"), []string{"*"}},
	{"host", certified(func(c *ssh.Certificate) { c.CertType = ssh.HostCert }, "rel"), []string{"rel"}},
	{"for ever", certified(func(c *ssh.Certificate) { c.ValidAfter, c.ValidBefore = 0, ssh.CertTimeInfinity }, "rel"), []string{"rel"}},
	{"forged", forged, []string{"rel"}},
}

// timesFor are the times that make a difference: both sides of each border.
func timesFor(s signedCase, text string) []string {
	switch {
	case strings.Contains(text, "valid-"):
		return []string{"20251231235959Z", "20260601000000Z", "20260601000001Z", "20270101000000Z"}
	case s.name == "certified":
		return []string{"20251231235959Z", "20260101000000Z", "20261231235959Z", "20270101000000Z"}
	}
	return []string{"20260601000000Z"}
}

// TestVerdictsAsKeygen asks ssh-keygen and us about each file, signature, time, namespace and name. In time zone and
// rounding, too, we must agree.
func TestVerdictsAsKeygen(t *testing.T) {
	needKeygen(t)
	zone(t, "XXX-02:00", 2*time.Hour)
	dir, accepted, asked := t.TempDir(), 0, 0
	for i, s := range signatures {
		armored := s.sig(t)
		sig := write(t, dir, fmt.Sprintf("%d.sig", i), string(armored))
		for j, text := range allowedFiles {
			file := write(t, dir, fmt.Sprintf("%d.allowed", j), fill(text))
			for _, at := range timesFor(s, text) {
				o := oracle{t: t, armored: armored, sig: sig, file: file, at: at, names: namesIn(text, s.has), namespaces: []string{space}}
				if s.name == "for files" || j == 0 {
					o.namespaces = []string{space, "file"}
				}
				asked++
				if o.agree(fmt.Sprintf("%s, %q, %s", s.name, text, at)) {
					accepted++
				}
			}
		}
	}
	t.Logf("%d of %d accepted", accepted, asked)
	if accepted < 50 || accepted > asked/2 {
		t.Error("the table is lopsided")
	}
}

// zone sets the time zone for us and for programs that are started.
func zone(t *testing.T, tz string, offset time.Duration) {
	t.Setenv("TZ", tz)
	before := time.Local
	time.Local = time.FixedZone("XXX", int(offset/time.Second))
	t.Cleanup(func() { time.Local = before })
}

// namesIn are all names that a signer could have by a file and a certificate.
func namesIn(text string, has []string) []string {
	names := []string{"rel"}
	a, err := ParseAllowedSigners(strings.NewReader(fill(text)), "x")
	if err == nil {
		for _, l := range a.lines {
			names = append(names, l.named()...)
		}
	}
	names = append(names, has...)
	slices.Sort(names)
	return slices.Compact(names)
}

// An oracle asks ssh-keygen about one signature.
type oracle struct {
	t                 testing.TB
	armored           []byte
	sig, file, at     string
	revoked           string
	names, namespaces []string
	namespace, answer string
}

// agree asks about each name, and about no name in particular; it returns whether anything was accepted.
func (o oracle) agree(what string) (accepted bool) {
	for _, o.namespace = range o.namespaces {
		anybody := false
		for _, name := range o.names {
			theirs := o.verify(name)
			got, err := o.policy(name).Check([]byte(index), o.armored, time.Time{})
			if (err == nil) != theirs || err == nil && got.Principal != name {
				o.t.Errorf("%s, as %q, for %q: ssh-keygen %v, we %+v, %v\n%s", what, name, o.namespace, theirs, got, err, o.answer)
			}
			anybody = anybody || theirs
		}
		got, err := o.policy("").Check([]byte(index), o.armored, time.Time{})
		if (err == nil) != anybody || err == nil && !o.verify(got.Principal) {
			o.t.Errorf("%s, as anybody, for %q: ssh-keygen %v, we %+v, %v", what, o.namespace, anybody, got, err)
		}
		accepted = accepted || anybody
	}
	return accepted
}

func (o *oracle) policy(name string) Policy {
	p := Policy{Namespace: o.namespace, AllowedSigners: []string{o.file}, Principal: name, VerifyTime: day(o.at)}
	if o.revoked != "" {
		p.Revoked = []string{o.revoked}
	}
	return p
}

func (o *oracle) verify(name string) bool {
	args := []string{"-Y", "verify", "-f", o.file, "-I", name, "-n", o.namespace, "-s", o.sig, "-Overify-time=" + o.at}
	if o.revoked != "" {
		args = append(args, "-r", o.revoked)
	}
	var err error
	o.answer, err = keygen(o.t, index, args...)
	return err == nil
}
