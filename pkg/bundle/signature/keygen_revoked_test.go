package signature

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

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
