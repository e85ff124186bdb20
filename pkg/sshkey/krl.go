package sshkey

import (
	"crypto/sha1" // KRLs may name keys by it; who can make a second key of the same SHA-1 gains a revoked key
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// The binary form of OpenSSH's PROTOCOL.krl. x/crypto/ssh has no reader for it, and of the known ones none can be had from
// the Go proxy.
const (
	krlMagic   = "SSHKRL\n\x00"
	krlVersion = 1

	krlCertificates         = 1
	krlKeys                 = 2
	krlSHA1                 = 3
	krlSHA256               = 5
	krlExtension            = 255
	krlSerialList           = 0x20
	krlSerialRange          = 0x21
	krlSerialBitmap         = 0x22
	krlKeyID                = 0x23
	krlCertificateExtension = 0x39
)

var errKRLShort = errors.New("the revocation list ends in the middle")

// A revocationList is what a KRL revokes. Bitmaps stay as they came, so it is no larger than its file.
type revocationList struct {
	keys, sha1s, sha256s map[string]bool
	certificates         []revokedCertificates
}

// revokedCertificates are those of one authority, or of all.
type revokedCertificates struct {
	authority string // marshalled key; empty: any
	serials   [][2]uint64
	bitmaps   []serialBitmap
	keyIDs    map[string]bool
}

// A serialBitmap revokes serial first+n when bit n, counted from the end of bits, is set.
type serialBitmap struct {
	first uint64
	bits  []byte
}

func (b serialBitmap) has(serial uint64) bool {
	n := serial - b.first
	return serial >= b.first && n/8 < uint64(len(b.bits)) && b.bits[uint64(len(b.bits))-1-n/8]>>(n%8)&1 == 1
}

func parseKRL(data []byte) (*revocationList, error) {
	b := krlBytes(data[len(krlMagic):])
	if version := b.uint32(); version != krlVersion {
		return nil, fmt.Errorf("the revocation list has format %d; %d is known", version, krlVersion)
	}
	b.uint64() // number of the list
	b.uint64() // when it was made
	b.uint64() // flags, none are defined
	b.bytes()  // reserved
	b.bytes()  // comment
	l := &revocationList{keys: map[string]bool{}, sha1s: map[string]bool{}, sha256s: map[string]bool{}}
	for len(b) > 0 {
		kind := b.byte()
		if err := l.section(kind, b.bytes()); err != nil {
			return nil, err
		}
	}
	if b == nil {
		return nil, errKRLShort
	}
	return l, nil
}

func (l *revocationList) section(kind byte, b krlBytes) error {
	switch kind {
	case krlCertificates:
		return l.addCertificates(b)
	case krlKeys:
		return b.collect(l.keys, 0)
	case krlSHA1:
		return b.collect(l.sha1s, sha1.Size)
	case krlSHA256:
		return b.collect(l.sha256s, sha256.Size)
	case krlExtension:
		return b.extension()
	}
	// Signed lists (section 4) were given up by OpenSSH, too: nothing says whose signature would count.
	return fmt.Errorf("the revocation list has a section of kind %d, which this program does not know", kind)
}

func (l *revocationList) addCertificates(b krlBytes) error {
	c := revokedCertificates{authority: string(b.bytes()), keyIDs: map[string]bool{}}
	b.bytes() // reserved
	for len(b) > 0 {
		kind := b.byte()
		if err := c.section(kind, b.bytes()); err != nil {
			return err
		}
	}
	if b == nil {
		return errKRLShort
	}
	l.certificates = append(l.certificates, c)
	return nil
}

func (c *revokedCertificates) section(kind byte, b krlBytes) error {
	switch kind {
	case krlSerialList:
		for len(b) > 0 {
			n := b.uint64()
			c.serials = append(c.serials, [2]uint64{n, n})
		}
	case krlSerialRange:
		c.serials = append(c.serials, [2]uint64{b.uint64(), b.uint64()})
	case krlSerialBitmap:
		c.bitmaps = append(c.bitmaps, serialBitmap{b.uint64(), b.bytes()})
	case krlKeyID:
		return b.collect(c.keyIDs, 0)
	case krlCertificateExtension:
		return b.extension()
	default:
		return fmt.Errorf("the revocation list has certificates listed in way %#x, which this program does not know", kind)
	}
	switch {
	case b == nil:
		return errKRLShort
	case len(b) > 0:
		return errors.New("the revocation list has more bytes than it says")
	}
	return nil
}

// revokesKey looks for a plain key.
func (l *revocationList) revokesKey(key ssh.PublicKey) bool {
	if l == nil {
		return false
	}
	blob := key.Marshal()
	s1, s256 := sha1.Sum(blob), sha256.Sum256(blob)
	return l.keys[string(blob)] || l.sha1s[string(s1[:])] || l.sha256s[string(s256[:])]
}

// revokesCertificate looks for a certificate by its number and its ID. As for OpenSSH the number 0 means that it has none.
func (l *revocationList) revokesCertificate(cert *ssh.Certificate) bool {
	if l == nil {
		return false
	}
	authority := string(cert.SignatureKey.Marshal())
	for _, c := range l.certificates {
		if c.authority != "" && c.authority != authority {
			continue
		}
		if c.keyIDs[cert.KeyId] || cert.Serial != 0 && c.hasSerial(cert.Serial) {
			return true
		}
	}
	return false
}

func (c revokedCertificates) hasSerial(serial uint64) bool {
	for _, s := range c.serials {
		if s[0] <= serial && serial <= s[1] {
			return true
		}
	}
	for _, b := range c.bitmaps {
		if b.has(serial) {
			return true
		}
	}
	return false
}

// krlBytes is what is left to read. Reading past the end makes it nil and gives zeros, so that one look at the end suffices.
type krlBytes []byte

func (b *krlBytes) take(n uint64) []byte {
	if *b == nil || uint64(len(*b)) < n {
		*b = nil
		return nil
	}
	out := (*b)[:n:n]
	*b = (*b)[n:]
	return out
}

func (b *krlBytes) byte() byte {
	if out := b.take(1); out != nil {
		return out[0]
	}
	return 0
}

func (b *krlBytes) uint32() uint32 {
	if out := b.take(4); out != nil {
		return binary.BigEndian.Uint32(out)
	}
	return 0
}

func (b *krlBytes) uint64() uint64 {
	if out := b.take(8); out != nil {
		return binary.BigEndian.Uint64(out)
	}
	return 0
}

// bytes reads a string of SSH's: a length of 4 bytes, and as many bytes.
func (b *krlBytes) bytes() krlBytes { return b.take(uint64(b.uint32())) }

// collect reads strings to the end, each of the given size unless that is 0.
func (b krlBytes) collect(into map[string]bool, size int) error {
	for len(b) > 0 {
		s := b.bytes()
		if size > 0 && b != nil && len(s) != size {
			return fmt.Errorf("the revocation list has a hash of %d bytes where %d are right", len(s), size)
		}
		into[string(s)] = true
	}
	if b == nil {
		return errKRLShort
	}
	return nil
}

// extension skips what may be skipped.
func (b krlBytes) extension() error {
	name, critical := string(b.bytes()), b.byte()
	switch {
	case b == nil:
		return errKRLShort
	case critical != 0:
		return fmt.Errorf("the revocation list needs the extension %q, which this program does not know", name)
	}
	return nil
}
