package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A policyCase is a site, a signature, and what comes of it. The signature is one of maker over the index unless it says
// otherwise.
type policyCase struct {
	name    string
	allowed string // text of allowed_signers with names of keys in brackets; "-": there is no such file
	revoked string
	policy  Policy // AllowUnsigned, Principal, VerifyTime
	claim   string
	sig     func(testing.TB) []byte

	principal string        // who it is said to be, where it is accepted
	want      manifest.Kind // KindPolicy unless accepted says otherwise
	accepted  bool
	says      []string // parts of the message and the hint
}

func by(key, namespace, message string) func(testing.TB) []byte {
	return func(t testing.TB) []byte { return keys()[key].sign(t, keys()[key].public, namespace, message) }
}

func unsigned(testing.TB) []byte { return nil }

func raw(s string) func(testing.TB) []byte { return func(testing.TB) []byte { return []byte(s) } }

// certified signs with maker's key and a certificate of ca for name.
func certified(change func(*ssh.Certificate), principals ...string) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		k := keys()["maker"]
		return k.sign(t, k.certify(t, keys()["ca"], change, principals...), space, index)
	}
}

// changed spoils the bytes inside the armor.
func changed(spoil func([]byte) []byte) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		text := by("maker", space, index)(t)
		body := strings.TrimSuffix(strings.TrimPrefix(string(text), armorBegin), armorEnd+"\n")
		blob, err := base64.StdEncoding.DecodeString(body)
		must(t, err)
		return []byte(armorBegin + base64.StdEncoding.EncodeToString(spoil(blob)) + armorEnd + "\n")
	}
}

// inSignature appends bytes inside the signature's own string, the last of the blob.
func inSignature(blob []byte) []byte {
	const size = 4 + 11 + 4 + 64 // of an Ed25519 signature
	at := len(blob) - size - 4
	binary.BigEndian.PutUint32(blob[at:], size+1)
	return append(blob, 0)
}

var policyCases = []policyCase{
	{name: "unsigned, nobody known", allowed: "-", sig: unsigned, says: []string{"not signed", "--allow-unsigned", "allowed_signers"}},
	{name: "unsigned, nobody known, allowed", allowed: "-", sig: unsigned, policy: Policy{AllowUnsigned: true}, accepted: true},
	{name: "unsigned, somebody known", allowed: "rel <maker>", sig: unsigned, says: []string{"not signed", "by somebody in"}},
	{name: "unsigned, somebody known, allowed", allowed: "rel <maker>", sig: unsigned, policy: Policy{AllowUnsigned: true}, says: []string{"does not count"}},
	{name: "unsigned, empty file, allowed", allowed: "# nobody yet\n", sig: unsigned, policy: Policy{AllowUnsigned: true}, says: []string{"not signed"}},
	{name: "unsigned, principal wanted, allowed", allowed: "-", sig: unsigned, policy: Policy{AllowUnsigned: true, Principal: "rel"}, says: []string{"not signed", "by rel"}},

	{name: "signed, nobody known", allowed: "-", says: []string{"<maker fingerprint>", "no signers are known", "/clara-push/allowed_signers: NAME namespaces=\"clara-push-bundle\" <maker>", "--allow-unsigned"}},
	{name: "signed, nobody known, allowed", allowed: "-", policy: Policy{AllowUnsigned: true}, accepted: true},
	{name: "certified, nobody known", allowed: "-", sig: certified(nil, "rel"), says: []string{"<ca fingerprint>", "NAME cert-authority,namespaces=\"clara-push-bundle\" <ca>"}},
	{name: "signed, nobody known, principal wanted, allowed", allowed: "-", policy: Policy{AllowUnsigned: true, Principal: "rel"}, says: []string{"<maker fingerprint>", ": rel namespaces="}},
	{name: "signed, empty file", allowed: "", says: []string{"not in"}},

	{name: "signed and known", allowed: "rel <maker>", accepted: true, principal: "rel"},
	{name: "known by pattern", allowed: "*@example.com <maker>", accepted: true, principal: "*@example.com"},
	{name: "known by pattern, asked for", allowed: "*@example.com <maker>", policy: Policy{Principal: "rel@example.com"}, accepted: true, principal: "rel@example.com"},
	{name: "second line", allowed: "a <other>\n\n# b\n\tb\t<maker> comment", accepted: true, principal: "b"},
	{name: "carriage returns", allowed: "a <other>\r\nb <maker>\r\n", accepted: true, principal: "b"},
	{name: "second line of the same key", allowed: "a namespaces=\"file\" <maker>\nb <maker>", accepted: true, principal: "b"},
	{name: "quoted principals", allowed: "\"a,b\" <maker>", policy: Policy{Principal: "b"}, accepted: true, principal: "b"},
	{name: "rsa", allowed: "rel <rsa>", sig: by("rsa", space, index), accepted: true, principal: "rel"},
	{name: "ecdsa", allowed: "rel <ecdsa>", sig: by("ecdsa", space, index), accepted: true, principal: "rel"},
	{name: "another key", allowed: "rel <other>", says: []string{"<maker fingerprint>", "not in", "add this line"}},
	{name: "another principal", allowed: "rel <maker>", policy: Policy{Principal: "chief"}, says: []string{`"rel"`, `"chief"`, "allowed_signers:1"}},
	{name: "excluded principal", allowed: "!rel,* <maker>", policy: Policy{Principal: "rel"}, says: []string{"allowed_signers:1"}},
	{name: "all excluded", allowed: "!*,rel <maker>", says: []string{"allowed_signers:1 vouches for nobody"}},
	{name: "namespace", allowed: "rel namespaces=\"file,clara-push-*\" <maker>", accepted: true, principal: "rel"},
	{name: "other namespace allowed", allowed: "rel namespaces=\"file\" <maker>", says: []string{`"file"`, `"clara-push-bundle"`}},
	{name: "namespace excluded", allowed: "rel namespaces=\"!clara-*,*\" <maker>", says: []string{"allowed_signers:1"}},

	{name: "made for another namespace", allowed: "rel <maker>", sig: by("maker", "file", index), says: []string{`made for "file"`, "<maker fingerprint>"}},
	{name: "made for another namespace, allowed", allowed: "-", sig: by("maker", "file", index), policy: Policy{AllowUnsigned: true}, says: []string{`made for "file"`}},
	{name: "over other bytes", allowed: "rel <maker>", sig: by("maker", space, index+" "), says: []string{"not over this bundle", "<maker fingerprint>"}},
	{name: "over other bytes, allowed", allowed: "-", sig: by("maker", space, ""), policy: Policy{AllowUnsigned: true}, says: []string{"not over this bundle"}},
	{name: "not a signature", allowed: "rel <maker>", sig: raw("hello"), says: []string{"no armored"}},
	{name: "not a signature, allowed", allowed: "-", sig: raw("hello"), policy: Policy{AllowUnsigned: true}, says: []string{"no armored"}},
	{name: "empty", allowed: "-", sig: raw(""), policy: Policy{AllowUnsigned: true}, says: []string{"no armored"}},
	{name: "too large", allowed: "rel <maker>", sig: raw(armorBegin + strings.Repeat("A", MaxSize) + armorEnd), says: []string{"larger than"}},
	{name: "text before", allowed: "rel <maker>", sig: around("x\n", ""), says: []string{"no armored"}},
	{name: "text after", allowed: "rel <maker>", sig: around("", "x\n"), says: []string{"no armored"}},
	{name: "lines after", allowed: "rel <maker>", sig: around("", "\n\n"), accepted: true, principal: "rel"},
	{name: "cut short", allowed: "rel <maker>", sig: changed(func(b []byte) []byte { return b[:len(b)-1] }), says: []string{"cannot be read"}},
	{name: "bytes after", allowed: "rel <maker>", sig: changed(func(b []byte) []byte { return append(b, 0) }), says: []string{"cannot be read"}},
	{name: "bytes after the signature", allowed: "rel <maker>", sig: changed(inSignature), says: []string{"bytes after"}},
	{name: "version 2", allowed: "rel <maker>", sig: changed(func(b []byte) []byte { b[9] = 2; return b }), says: []string{"version"}},
	{name: "a bit changed", allowed: "rel <maker>", sig: changed(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), says: []string{"not over this bundle"}},
	{name: "the key changed", allowed: "rel <other>", sig: changed(func(b []byte) []byte {
		return bytes.Replace(b, keys()["maker"].public.Marshal(), keys()["other"].public.Marshal(), 1)
	}), says: []string{"not over this bundle", "<other fingerprint>"}},
	{name: "weak key", allowed: "rel <maker>", sig: weakSignature, says: []string{"RSA key of 1024 bits"}},
	{name: "SHA-1", allowed: "rel <rsa>", sig: sha1Signature(false), says: []string{"ssh-rsa"}},
	{name: "SHA-1 with a certificate", allowed: "rel cert-authority <ca>", sig: sha1Signature(true), says: []string{"SHA-1"}},

	{name: "expired now", allowed: `rel valid-before="20260101Z" <maker>`, says: []string{"until 2026-01-01 00:00:00 UTC", "judged by this machine's clock, which says 2026-06-01 12:00:00 UTC", "--verify-time", "<maker fingerprint>"}},
	{name: "expired, claim before", allowed: `rel valid-before="20260101Z" <maker>`, claim: "20251231Z", accepted: true, principal: "rel"},
	{name: "expired, claim after", allowed: `rel valid-before="20260101Z" <maker>`, claim: "20260102Z", says: []string{"judged as of 2026-01-02 00:00:00 UTC (the bundle's own signing time)", "clock says 2026-06-01 12:00:00 UTC"}},
	{name: "claim before, verify time after", allowed: `rel valid-before="20260101Z" <maker>`, claim: "20251231Z", policy: Policy{VerifyTime: day("20260102Z")}, says: []string{"--verify-time)"}},
	{name: "claim after, verify time before", allowed: `rel valid-before="20260101Z" <maker>`, claim: "20260102Z", policy: Policy{VerifyTime: day("20251231Z")}, accepted: true, principal: "rel"},
	{name: "at the last moment", allowed: `rel valid-before="20260101Z" <maker>`, claim: "20260101Z", accepted: true, principal: "rel"},
	{name: "a second late", allowed: `rel valid-before="20260101Z" <maker>`, claim: "20260101000001Z", says: []string{"until"}},
	{name: "not yet valid", allowed: `rel valid-after="20270101Z" <maker>`, says: []string{"only from 2027-01-01 00:00:00 UTC", "clock, which says"}},
	{name: "at the first moment", allowed: `rel valid-after="20270101Z" <maker>`, claim: "20270101Z", accepted: true, principal: "rel"},
	{name: "rotated", allowed: "rel valid-before=\"20260101Z\" <other>\nrel valid-after=\"20260101Z\" <maker>", accepted: true, principal: "rel"},

	{name: "revoked", allowed: "rel <maker>", revoked: "# stolen\n<maker> comment\n", says: []string{"<maker fingerprint>", "revoked by", "revoked:2"}},
	{name: "revoked by fingerprint", allowed: "rel <maker>", revoked: "<other fingerprint>\n<maker fingerprint> stolen", says: []string{"revoked by"}},
	{name: "another revoked", allowed: "rel <maker>", revoked: "<other>", accepted: true, principal: "rel"},
	{name: "revoked, claim of long ago", allowed: "rel <maker>", revoked: "<maker>", claim: "20200101Z", says: []string{"revoked by"}},
	{name: "revoked, allowed", allowed: "-", revoked: "<maker>", policy: Policy{AllowUnsigned: true}, says: []string{"revoked by"}},
	{name: "revocations with a mistake", allowed: "rel <maker>", revoked: "<other>\nwhat\n", says: []string{"revoked:2", "neither"}},
	{name: "revocations with a mistake, unsigned, allowed", allowed: "-", revoked: "what", sig: unsigned, policy: Policy{AllowUnsigned: true}, says: []string{"revoked:1"}},

	{name: "certified", allowed: "rel cert-authority <ca>", sig: certified(nil, "rel"), accepted: true, principal: "rel"},
	{name: "certified, second name", allowed: "*@x cert-authority <ca>", sig: certified(nil, "a", "rel@x"), accepted: true, principal: "rel@x"},
	{name: "certified, name asked for", allowed: "* cert-authority <ca>", sig: certified(nil, "a", "b"), policy: Policy{Principal: "b"}, accepted: true, principal: "b"},
	{name: "certified for another", allowed: "rel cert-authority <ca>", sig: certified(nil, "someone"), says: []string{`vouches for nobody`, `"someone"`}},
	{name: "certified for another than asked for", allowed: "* cert-authority <ca>", sig: certified(nil, "a"), policy: Policy{Principal: "b"}, says: []string{`does not vouch for "b"`, `"a"`}},
	{name: "certified for nobody", allowed: "* cert-authority <ca>", sig: certified(nil), says: []string{"nobody's name"}},
	{name: "certified by another", allowed: "rel cert-authority <other>", sig: certified(nil, "rel"), says: []string{"not in", "<ca fingerprint>"}},
	{name: "certificate expired", allowed: "rel cert-authority <ca>", sig: certified(nil, "rel"), claim: "20270101Z", says: []string{"was valid until 2027-01-01", "clock says"}},
	{name: "certificate not yet valid", allowed: "rel cert-authority <ca>", sig: certified(nil, "rel"), claim: "20251231Z", says: []string{"only from 2026-01-01"}},
	{name: "certificate for ever", allowed: "rel cert-authority <ca>", sig: certified(func(c *ssh.Certificate) { c.ValidAfter, c.ValidBefore = 0, ssh.CertTimeInfinity }, "rel"), claim: "20990101Z", accepted: true, principal: "rel"},
	{name: "host certificate", allowed: "rel cert-authority <ca>", sig: certified(func(c *ssh.Certificate) { c.CertType = ssh.HostCert }, "rel"), says: []string{"for hosts"}},
	{name: "critical option", allowed: "rel cert-authority <ca>", sig: certified(func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "true"} }, "rel"), says: []string{"force-command"}},
	{name: "forged certificate", allowed: "rel cert-authority <ca>", sig: forged, says: []string{"does not verify"}},
	{name: "authority's own key", allowed: "rel cert-authority <maker>", says: []string{"signs no bundles itself"}},
	{name: "authority without the option", allowed: "rel <ca>", sig: certified(nil, "rel"), says: []string{"without the option cert-authority"}},
	{name: "plain line, certified key", allowed: "rel <maker>", sig: certified(nil, "rel"), says: []string{"with a certificate", ".pub"}},
	{name: "authority for another namespace", allowed: `rel cert-authority,namespaces="git" <ca>`, sig: certified(nil, "rel"), says: []string{`"git"`}},
	{name: "authority expired", allowed: `rel cert-authority,valid-before="20260201Z" <ca>`, sig: certified(nil, "rel"), says: []string{"until 2026-02-01"}},
	{name: "authority revoked", allowed: "rel cert-authority <ca>", revoked: "<ca>", sig: certified(nil, "rel"), says: []string{"authority", "revoked by"}},
	{name: "certified key revoked", allowed: "rel cert-authority <ca>", revoked: "<maker>", sig: certified(nil, "rel"), says: []string{"revoked by"}},

	{name: "a line with a mistake", allowed: "rel <maker>\nrel ssh-ed25519 AAAA\n", says: []string{"allowed_signers:2", "correct it"}},
	{name: "a line with a mistake, unsigned", allowed: "rel", sig: unsigned, policy: Policy{AllowUnsigned: true}, says: []string{"allowed_signers:1"}},
	{name: "file missing", allowed: "missing", want: manifest.KindNotFound, says: []string{"no such file"}},
}

func around(before, after string) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		return append([]byte(before), append(by("maker", space, index)(t), after...)...)
	}
}

// forged bears a certificate that says another name than the one it was signed for.
func forged(t testing.TB) []byte {
	k := keys()["maker"]
	c := k.certify(t, keys()["ca"], nil, "someone")
	c.ValidPrincipals = []string{"rel"}
	return k.sign(t, c, space, index)
}

// TestPolicy holds every way a bundle may be let through or refused.
func TestPolicy(t *testing.T) {
	for _, c := range policyCases {
		t.Run(c.name, func(t *testing.T) { c.run(t) })
	}
}

func (c policyCase) run(t *testing.T) {
	dir := t.TempDir()
	p, claim := c.policy, time.Time{}
	p.Namespace, p.now = space, func() time.Time { return day("202606011200Z") }
	switch c.allowed {
	case "-":
	case "missing":
		p.AllowedSigners = []string{dir + "/allowed_signers"}
	default:
		p.AllowedSigners = []string{write(t, dir, "allowed_signers", fill(c.allowed))}
	}
	if c.revoked != "" {
		p.Revoked = []string{write(t, dir, "revoked", fill(c.revoked))}
	}
	if c.claim != "" {
		claim = day(c.claim)
	}
	if c.sig == nil {
		c.sig = by("maker", space, index)
	}
	sig := c.sig(t)
	got, err := p.Check([]byte(index), sig, claim)
	if c.accepted {
		must(t, err)
		if got.Principal != c.principal || (got.Key == "") != (sig == nil) || (got.Line == "") != (c.principal == "") {
			t.Errorf("signed: %+v", got)
		}
		return
	}
	c.refused(t, got, err)
}

func (c policyCase) refused(t *testing.T, got Signed, err error) {
	want := c.want
	if want == "" {
		want = manifest.KindPolicy
	}
	var f *manifest.Failure
	if !errors.As(err, &f) || f.Kind != want {
		t.Fatalf("%+v, %v (%s); want %s", got, err, manifest.KindOf(err), want)
	}
	if got != (Signed{}) {
		t.Errorf("refused, and yet %+v", got)
	}
	if f.Hint == "" {
		t.Error("no hint")
	}
	text := f.Error() + "\n" + f.Hint
	t.Log(text)
	for _, s := range c.says {
		if !strings.Contains(text, fill(s)) {
			t.Errorf("it does not say %q", fill(s))
		}
	}
}

func TestPolicyNeedsNamespace(t *testing.T) {
	if _, err := (Policy{AllowUnsigned: true}).Check(nil, nil, time.Time{}); manifest.KindOf(err) != manifest.KindInternal {
		t.Errorf("%v", err)
	}
}

// TestTrustFiles: what others may write to is not trusted.
func TestTrustFiles(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name         string
		file, folder os.FileMode
		want         manifest.Kind
	}{
		{"as it should be", 0o644, 0o755, ""},
		{"for the owner alone", 0o400, 0o700, ""},
		{"writable by the group", 0o664, 0o755, manifest.KindPolicy},
		{"writable by all", 0o646, 0o755, manifest.KindPolicy},
		{"in a folder writable by all", 0o644, 0o777, manifest.KindPolicy},
		{"in a folder writable by all where each keeps his own", 0o644, 0o777 | os.ModeSticky, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := dir + "/" + strings.ReplaceAll(tt.name, " ", "-")
			must(t, os.Mkdir(folder, 0o755))
			path := write(t, folder, "allowed_signers", fill("rel <maker>"))
			must(t, os.Chmod(path, tt.file))
			must(t, os.Chmod(folder, tt.folder))
			link := folder + "-link"
			must(t, os.Symlink(path, link))
			for _, path := range []string{path, link} {
				_, err := Policy{Namespace: space, AllowedSigners: []string{path}}.Check([]byte(index), by("maker", space, index)(t), time.Time{})
				if manifest.KindOf(err) != tt.want {
					t.Errorf("%s: %v; want %q", path, err, tt.want)
				}
			}
		})
	}
}

// TestDefaultFiles: the user's file counts beside the machine's, but under sudo only when it is root's.
func TestDefaultFiles(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	must(t, os.Mkdir(home+"/clara-push", 0o755))
	for name, find := range map[string]func() []string{"allowed_signers": DefaultAllowedSigners, "revoked_signers": DefaultRevoked} {
		path := home + "/clara-push/" + name
		if slices.Contains(find(), path) {
			t.Errorf("%s is not there, and yet found", path)
		}
		write(t, home+"/clara-push", name, "")
		if found := find(); len(found) == 0 || found[0] != path {
			t.Errorf("%s is there; found %q", path, found)
		}
		if os.Geteuid() != 0 {
			t.Log("not tried: a file of somebody else, for that takes root")
			continue
		}
		must(t, os.Chown(path, 12345, 12345))
		if slices.Contains(find(), path) {
			t.Errorf("%s belongs to somebody else, and is found", path)
		}
	}
}

func TestSignedString(t *testing.T) {
	for want, s := range map[string]Signed{
		"not signed": {},
		"signed by RSA SHA256:x, which nobody here vouches for":              {Key: "SHA256:x", Type: "RSA"},
		"signed by rel (RSA SHA256:x), as F:1 allows":                        {Principal: "rel", Key: "SHA256:x", Type: "RSA", Line: "F:1"},
		"signed by rel (RSA SHA256:x), as F:1 allows, certified by SHA256:y": {Principal: "rel", Key: "SHA256:x", Type: "RSA", Line: "F:1", Authority: "SHA256:y"},
	} {
		if s.String() != want {
			t.Errorf("%q, want %q", s, want)
		}
	}
}
