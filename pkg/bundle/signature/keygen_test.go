package signature

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/sshkey"
)

// keygen runs the real ssh-keygen.
func keygen(t testing.TB, stdin string, args ...string) (out string, err error) {
	t.Helper()
	c := exec.Command("ssh-keygen", args...)
	c.Stdin = strings.NewReader(stdin)
	c.Env = append(c.Environ(), "LC_ALL=C")
	var both bytes.Buffer
	c.Stdout, c.Stderr = &both, &both
	err = c.Run()
	return both.String(), err
}

func needKeygen(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("not compared: there is no ssh-keygen on this machine")
	}
	if out, _ := keygen(t, "", "-Y", "find-principals"); strings.Contains(out, "unknown option") {
		t.Skip("not compared: this ssh-keygen is older than 8.1 and knows no signatures")
	}
}

// TestKeygenSigns: what ssh-keygen signs, we accept; with each kind of key, with certificates, with both hashes.
func TestKeygenSigns(t *testing.T) {
	needKeygen(t)
	k := newKeyring(t)
	for key, allowed := range map[string]string{
		"maker": "rel <maker>", "rsa": "rel <rsa>", "ecdsa": "rel <ecdsa>",
		"certified-cert.pub": "rel cert-authority <ca>", "certrsa-cert.pub": "rel cert-authority <ca>",
	} {
		for _, hash := range []string{"sha256", "sha512"} {
			sig := keygenSigns(t, k.path(key), space, "-Ohashalg="+hash)
			p := Policy{Namespace: space, AllowedSigners: []string{write(t, t.TempDir(), "allowed_signers", fill(allowed))}}
			if got, err := p.Check([]byte(index), sig, time.Time{}); err != nil || got.Principal != "rel" {
				t.Errorf("%s, %s: %+v, %v", key, hash, got, err)
			}
		}
	}
}

func keygenSigns(t testing.TB, key, namespace string, options ...string) []byte {
	t.Helper()
	file := write(t, t.TempDir(), "index.json", index)
	if out, err := keygen(t, "", append([]string{"-Y", "sign", "-f", key, "-n", namespace}, append(options, file)...)...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return read(t, file+".sig")
}

// TestKeygenVerifies: what we sign, ssh-keygen accepts, finds the principal of, and finds well formed.
func TestKeygenVerifies(t *testing.T) {
	needKeygen(t)
	k := newKeyring(t)
	t.Setenv("SSH_AUTH_SOCK", "")
	for key, allowed := range map[string]string{
		"maker": "rel <maker>", "rsa": "rel <rsa>", "ecdsa": "rel <ecdsa>",
		"certified": "rel cert-authority <ca>", "certrsa": "rel cert-authority <ca>", "certified.pub": "rel <maker>",
	} {
		s, err := OpenSigner(t.Context(), k.path(key), nil)
		must(t, err)
		armored, err := s.Sign(t.Context(), space, []byte(index))
		must(t, err)
		sig := write(t, t.TempDir(), "index.json.sig", string(armored))
		file := write(t, t.TempDir(), "allowed_signers", fill(allowed))
		for _, args := range [][]string{
			{"-Y", "check-novalidate", "-n", space, "-s", sig},
			{"-Y", "find-principals", "-f", file, "-s", sig},
			{"-Y", "verify", "-f", file, "-I", "rel", "-n", space, "-s", sig},
		} {
			if out, err := keygen(t, index, args...); err != nil {
				t.Errorf("%s: %v: %v\n%s", key, args[1], err, out)
			}
		}
	}
}

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

// TestRevokedAsKeygen compares revocation, by text and by KRLs that ssh-keygen makes.
func TestRevokedAsKeygen(t *testing.T) {
	needKeygen(t)
	dir := t.TempDir()
	ca := write(t, dir, "ca.pub", keys()["ca"].line())
	allowed := write(t, dir, "allowed_signers", fill("rel <maker>\nrel <rsa>\nrel cert-authority <ca>"))
	cert := write(t, dir, "cert.pub", armorOf(keys()["maker"].certify(t, keys()["ca"], nil, "rel")))
	lists := map[string]string{
		"nothing": write(t, dir, "nothing", "# nothing\n"),
		"text":    write(t, dir, "text", fill("# stolen\n\n<other>\n<maker> comment\n")),
		"ca":      ca,
		"cert":    cert,
	}
	for name, spec := range map[string]string{
		"krl, empty": "", "krl, key": "key: <maker>", "krl, sha1": "sha1: <maker>", "krl, sha256": "sha256: <maker>",
		"krl, hash": "hash: <maker fingerprint>", "krl, other": "key: <other>", "krl, ca": "key: <ca>",
		"krl, serial": "serial: 7", "krl, serials": "serial: 1-9", "krl, bitmap": "serial: 3\nserial: 5\nserial: 7\nserial: 12\nserial: 14\nserial: 17",
		"krl, far bitmap": "serial: 3\nserial: 5\nserial: 12\nserial: 200", "krl, high": "serial: 18446744073709551615",
		"krl, id": "id: release 7", "krl, other id": "id: release 8", "krl, all": "serial: 8-9\nid: x\nkey: <other>\nsha1: <ecdsa>\nsha256: <rsa>",
	} {
		lists[name] = makeKRL(t, dir, name, spec, "-s", ca)
	}
	lists["krl, any authority"] = makeKRL(t, dir, "any", "serial: 7", "-s", "none")
	lists["krl, other authority"] = makeKRL(t, dir, "otherca", "serial: 7", "-s", write(t, dir, "other.pub", keys()["other"].line()))
	for i, s := range []signedCase{
		{"maker", by("maker", space, index), nil}, {"rsa", by("rsa", space, index), nil}, {"certified", certified(nil, "rel"), nil},
		{"no number", certified(func(c *ssh.Certificate) { c.Serial, c.KeyId = 0, "none" }, "rel"), nil},
		{"high number", certified(func(c *ssh.Certificate) { c.Serial = 1<<64 - 1 }, "rel"), nil},
		{"number 12", certified(func(c *ssh.Certificate) { c.Serial = 12 }, "rel"), nil},
		{"number 13", certified(func(c *ssh.Certificate) { c.Serial = 13 }, "rel"), nil},
	} {
		armored := s.sig(t)
		sig := write(t, dir, fmt.Sprintf("%d.sig", i), string(armored))
		count := 0
		for name, list := range lists {
			o := oracle{t: t, armored: armored, sig: sig, file: allowed, at: "20260601Z", revoked: list, names: []string{"rel"}, namespaces: []string{space}}
			if o.agree(s.name + ", " + name) {
				count++
			}
		}
		if count == 0 || count == len(lists) {
			t.Errorf("%s: accepted with %d of %d lists", s.name, count, len(lists))
		}
	}
}

func makeKRL(t testing.TB, dir, name, spec string, args ...string) string {
	t.Helper()
	out := strings.ReplaceAll(dir+"/"+name, " ", "")
	args = append([]string{"-q", "-k", "-f", out}, append(args, write(t, dir, "spec", fill(spec)+"\n"))...)
	if said, err := keygen(t, "", args...); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, said)
	}
	return out
}

// TestStricterThanKeygen lists what ssh-keygen accepts and we do not, as the package comment says.
func TestStricterThanKeygen(t *testing.T) {
	needKeygen(t)
	dir := t.TempDir()
	makerCert := keys()["maker"].certify(t, keys()["ca"], nil, "rel")
	for i, tt := range []struct {
		name, allowed string
		sig           func(testing.TB) []byte
	}{
		{"a line that cannot be read", "what\nrel <maker>", nil},
		{"an unknown option in another's line", "chief sometimes <other>\nrel <maker>", nil},
		{"a certificate in a line", "rel " + armorOf(makerCert), func(t testing.TB) []byte { return keys()["maker"].sign(t, makerCert, space, index) }},
		{"certificate with a critical option", "rel cert-authority <ca>", certified(func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "x"} }, "rel")},
		{"text after the signature", "rel <maker>", around("", "hello\n")},
		{"a weak key in another's line", "rel <maker>\nchief <weak>", nil},
	} {
		if tt.sig == nil {
			tt.sig = by("maker", space, index)
		}
		armored := tt.sig(t)
		sig := write(t, dir, fmt.Sprintf("%d.sig", i), string(armored))
		o := oracle{t: t, armored: armored, sig: sig, file: write(t, dir, "allowed_signers", fill(tt.allowed)), at: "20260601Z", namespace: space}
		if !o.verify("rel") {
			t.Errorf("%s: ssh-keygen does not accept it either: %s", tt.name, o.answer)
		}
		if got, err := o.policy("rel").Check([]byte(index), armored, time.Time{}); manifest.KindOf(err) != manifest.KindPolicy {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}

// TestTimesAsKeygen: each form of a time is one for both, and the same moment.
func TestTimesAsKeygen(t *testing.T) {
	needKeygen(t)
	zone(t, "XXX+05:00", -5*time.Hour)
	dir := t.TempDir()
	armored := by("maker", space, index)(t)
	sig := write(t, dir, "sig", string(armored))
	for _, s := range []string{
		"20260601", "20260601Z", "20260601z", "20260601UTC", "202606011405", "202606011405Z", "20260601140501", "20260601140501Z", "20260229", "20240229",
		"2026", "202606011", "2026060114", "20261301", "20260001", "202606012460", "", "Z", "19700101Z", "19691231Z", "20260601 ", " 20260601", "+20260601", "2026-06-01",
	} {
		at, err := ParseTime(s)
		if _, saysNo := keygen(t, index, "-Y", "verify", "-f", write(t, dir, "any", fill("rel <maker>")), "-I", "rel", "-n", space, "-s", sig, "-Overify-time="+s); (saysNo == nil) != (err == nil) {
			if s == "20260229" { // ssh-keygen takes it for the first of March
				continue
			}
			t.Errorf("%q: ssh-keygen %v, we %v", s, saysNo, err)
		}
		if err != nil {
			continue
		}
		file := write(t, dir, "until", fill(fmt.Sprintf("rel valid-before=%q <maker>", s)))
		for _, d := range []time.Duration{0, time.Second} {
			moment := at.Add(d).UTC().Format("20060102150405Z")
			o := oracle{t: t, armored: armored, sig: sig, file: file, at: moment, namespace: space}
			if theirs := o.verify("rel"); theirs != (d == 0) {
				t.Errorf("%q and %s: ssh-keygen %v: %s", s, d, theirs, o.answer)
			}
		}
	}
}

// TestDescribesAsKeygen: people compare fingerprints with what ssh-keygen -l prints.
func TestDescribesAsKeygen(t *testing.T) {
	needKeygen(t)
	for name, k := range keys() {
		cert := k.certify(t, keys()["ca"], nil, "rel")
		for _, key := range []ssh.PublicKey{k.public, cert} {
			out, err := keygen(t, "", "-l", "-f", write(t, t.TempDir(), "key.pub", armorOf(key)))
			must(t, err)
			words := strings.Fields(out)
			if kind := strings.Trim(words[len(words)-1], "()"); words[1] != sshkey.Fingerprint(key) || strings.TrimSuffix(kind, "-CERT") != sshkey.Type(key) {
				t.Errorf("%s: %q, we say %s", name, out, sshkey.Describe(key))
			}
		}
	}
}
