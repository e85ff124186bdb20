package sshkey

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func newKey(t testing.TB) ssh.PublicKey {
	t.Helper()
	raw, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func lineOf(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// section is one of a KRL, or of its list of certificates.
func section(kind byte, content ...[]byte) []byte {
	return ssh.Marshal(struct {
		Kind byte
		Body []byte
	}{kind, bytes.Join(content, nil)})
}

func str(s []byte) []byte { return ssh.Marshal(struct{ S []byte }{s}) }

func number(n uint64) []byte { return ssh.Marshal(struct{ N uint64 }{n}) }

// list is a KRL of format 1 with these sections.
func list(sections ...[]byte) []byte {
	head := ssh.Marshal(struct {
		Version              uint32
		Number, Made, Flags  uint64
		Reserved, Commentary string
	}{1, 2, 3, 0, "", "a list"})
	return append([]byte(krlMagic), append(head, bytes.Join(sections, nil)...)...)
}

func extension(critical byte) []byte {
	return bytes.Join([][]byte{str([]byte("new@example.com")), {critical}, str([]byte("content"))}, nil)
}

func TestKRL(t *testing.T) {
	key, other, ca := newKey(t), newKey(t), newKey(t)
	cert := &ssh.Certificate{Key: key, SignatureKey: ca, KeyId: "release", Serial: 1000}
	blob := key.Marshal()
	s1, s256 := sha1.Sum(blob), sha256.Sum256(blob)
	certs := func(by []byte, sections ...[]byte) []byte {
		return list(section(krlCertificates, str(by), str(nil), bytes.Join(sections, nil)))
	}
	for _, tt := range []struct {
		name       string
		data       []byte
		key, cert  bool // revoked
		unreadable string
	}{
		{name: "empty", data: list()},
		{name: "key", data: list(section(krlKeys, str(other.Marshal()), str(blob))), key: true, cert: true},
		{name: "SHA-1", data: list(section(krlSHA1, str(s1[:]))), key: true, cert: true},
		{name: "SHA-256", data: list(section(krlSHA256, str(s256[:]))), key: true, cert: true},
		{name: "authority", data: list(section(krlKeys, str(ca.Marshal()))), cert: true},
		{name: "other", data: list(section(krlKeys, str(other.Marshal())))},
		{name: "number", data: certs(ca.Marshal(), section(krlSerialList, number(999), number(1000))), cert: true},
		{name: "number of any authority", data: certs(nil, section(krlSerialList, number(1000))), cert: true},
		{name: "number of another authority", data: certs(other.Marshal(), section(krlSerialList, number(1000)))},
		{name: "another number", data: certs(ca.Marshal(), section(krlSerialList, number(999)))},
		{name: "range", data: certs(ca.Marshal(), section(krlSerialRange, number(1000), number(1<<64-1))), cert: true},
		{name: "other range", data: certs(ca.Marshal(), section(krlSerialRange, number(1001), number(1<<64-1)))},
		{name: "bitmap", data: certs(ca.Marshal(), section(krlSerialBitmap, number(991), str([]byte{0x02, 0x00}))), cert: true},
		{name: "bitmap, next bit", data: certs(ca.Marshal(), section(krlSerialBitmap, number(991), str([]byte{0x04, 0x00})))},
		{name: "bitmap that ends before", data: certs(ca.Marshal(), section(krlSerialBitmap, number(900), str([]byte{0xff})))},
		{name: "bitmap that begins after", data: certs(ca.Marshal(), section(krlSerialBitmap, number(1001), str([]byte{0xff})))},
		{name: "ID", data: certs(ca.Marshal(), section(krlKeyID, str([]byte("x")), str([]byte("release")))), cert: true},
		{name: "another ID", data: certs(ca.Marshal(), section(krlKeyID, str([]byte("releas"))))},
		{name: "extension", data: list(section(krlExtension, extension(0)), section(krlKeys, str(blob))), key: true, cert: true},
		{name: "extension of certificates", data: certs(nil, section(krlCertificateExtension, extension(0)), section(krlSerialList, number(1000))), cert: true},
		{name: "critical extension", data: list(section(krlExtension, extension(1))), unreadable: `"new@example.com"`},
		{name: "critical extension of certificates", data: certs(nil, section(krlCertificateExtension, extension(1))), unreadable: `"new@example.com"`},
		{name: "unknown section", data: list(section(9)), unreadable: "kind 9"},
		{name: "signed", data: list(section(4, blob)), unreadable: "kind 4"},
		{name: "unknown list of certificates", data: certs(nil, section(0x30)), unreadable: "0x30"},
		{name: "hash too short", data: list(section(krlSHA256, str(s1[:]))), unreadable: "20 bytes where 32"},
		{name: "range too long", data: certs(nil, section(krlSerialRange, number(1), number(2), number(3))), unreadable: "more bytes"},
		{name: "number cut", data: certs(nil, section(krlSerialList, number(1)[:7])), unreadable: "ends in the middle"},
		{name: "format 2", data: bytes.Replace(list(), []byte{0, 0, 0, 1}, []byte{0, 0, 0, 2}, 1), unreadable: "format 2"},
		{name: "magic alone", data: []byte(krlMagic), unreadable: "format 0"},
		{name: "length that lies", data: append(list(), krlKeys, 0xff, 0xff, 0xff, 0xff), unreadable: "ends in the middle"},
	} {
		r, err := ParseRevoked(bytes.NewReader(tt.data), "KRL")
		if tt.unreadable != "" {
			if err == nil || r != nil || !strings.Contains(err.Error(), tt.unreadable) || !strings.HasPrefix(err.Error(), "KRL: ") {
				t.Errorf("%s: %+v, %v", tt.name, r, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := r.Why(key); (got != "") != tt.key {
			t.Errorf("%s: key: %q", tt.name, got)
		}
		if got := r.Why(cert); (got != "") != tt.cert {
			t.Errorf("%s: certificate: %q", tt.name, got)
		}
	}
}

// TestKRLCut cuts a list at each byte: what was read is either refused or ends with a whole section.
func TestKRLCut(t *testing.T) {
	key := newKey(t)
	whole := list(section(krlKeys, str(key.Marshal())))
	head := len(list())
	for n := len(krlMagic); n < len(whole); n++ {
		if _, err := ParseRevoked(bytes.NewReader(whole[:n]), "KRL"); (err == nil) != (n == head) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func TestRevokedText(t *testing.T) {
	key, ca := newKey(t), newKey(t)
	cert := &ssh.Certificate{Key: key, SignatureKey: ca, KeyId: "release", Serial: 1}
	for _, tt := range []struct {
		name, text, key, cert string // why they are revoked, in part; a text that cannot be read has both
	}{
		{"nothing", "# none\n\n", "", ""},
		{"key", "\n " + lineOf(key) + " stolen\r\n", "F:2", "F:2"},
		{"fingerprint", Fingerprint(key) + " stolen", "F:1", "F:1"},
		{"padded fingerprint", Fingerprint(key) + "=", "F:1", "F:1"},
		{"authority", lineOf(newKey(t)) + "\n" + lineOf(ca), "", "authority ED25519 " + Fingerprint(ca) + " is revoked by F:2"},
		{"certificate", lineOf(&ssh.Certificate{Key: key, SignatureKey: ca, Signature: &ssh.Signature{Format: "ssh-ed25519", Blob: make([]byte, 64)}}), "F:1", "F:1"},
		{"no key", "# x\nwhat", "F:2: neither", "F:2: neither"},
		{"cut key", lineOf(key)[:40], "F:1: neither", "F:1: neither"},
		{"options", `cert-authority ` + lineOf(key), "F:1: more", "F:1: more"},
		{"bad fingerprint", Fingerprint(key)[:40], "F:1: ", "F:1: "},
		{"MD5", "MD5:00:11", "F:1: neither", "F:1: neither"},
		{"too large", strings.Repeat("#\n", maxRevoked/2+1), "F is larger", "F is larger"},
	} {
		r, err := ParseRevoked(strings.NewReader(tt.text), "F")
		for _, k := range []struct {
			key  ssh.PublicKey
			want string
		}{{key, tt.key}, {cert, tt.cert}} {
			why := r.Why(k.key)
			if err != nil {
				why = err.Error()
			}
			if (why == "") != (k.want == "") || !strings.Contains(why, k.want) {
				t.Errorf("%s: %q, want %q", tt.name, why, k.want)
			}
		}
	}
}

// FuzzRevoked: reading ends, and a list that was read can be asked.
func FuzzRevoked(f *testing.F) {
	key, ca := newKey(f), newKey(f)
	f.Add([]byte(lineOf(key) + "\n# x\n" + Fingerprint(ca)))
	f.Add(list(section(krlKeys, str(key.Marshal())), section(krlSHA1, str(make([]byte, 20))), section(krlExtension, extension(0))))
	f.Add(list(section(krlCertificates, str(nil), str(nil),
		section(krlSerialList, number(1)), section(krlSerialRange, number(1), number(9)), section(krlSerialBitmap, number(3), str([]byte{0, 9})), section(krlKeyID, str([]byte("x"))))))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRevoked(bytes.NewReader(data), "F")
		if (r == nil) != (err != nil) || err != nil && !strings.HasPrefix(err.Error(), "F") {
			t.Fatalf("%v, %v", r, err)
		}
		for _, serial := range []uint64{0, 1, 1 << 63, 1<<64 - 1} {
			r.Why(&ssh.Certificate{Key: key, SignatureKey: ca, KeyId: "x", Serial: serial})
		}
	})
}
