package signature

import (
	"bytes"
	"fmt"
	"os/exec"
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
