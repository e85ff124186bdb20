package dial

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/sshkey"
)

// A doorman decides about the host key of one hop. One doorman lives as long as the route, so that a key that was
// accepted stays accepted for further connections.
type doorman struct {
	place       place
	last        bool // of the host itself, not of a jump host
	known       *knownHosts
	fingerprint string // the only key to accept; empty: known_hosts decides
	strict      strictness
	record      string // file to record new keys in; empty: none
	hash        bool   // record the name hashed
	revoked     *sshkey.Revoked
	warn        func(string)
}

func newDoorman(s *settings, o Options, warn func(string)) (*doorman, error) {
	d := &doorman{place: s.place(), fingerprint: o.HostFingerprint, strict: s.strict, hash: s.hashNames, warn: warn}
	if o.AcceptNew {
		d.strict = acceptUnknown
	}
	d.known = readKnownHosts(append(s.userKnown[:len(s.userKnown):len(s.userKnown)], s.globalKnown...), warn)
	if len(s.userKnown) > 0 && s.userKnown[0] != os.DevNull && s.userKnown[0] != "/dev/null" {
		d.record = s.userKnown[0]
	}
	var err error
	d.revoked, err = readRevoked(s.revoked)
	return d, err
}

// errOtherKey says that the host has shown a key that is not the one asked for; it may have that one as well.
type errOtherKey struct{ shown string }

func (e errOtherKey) Error() string { return "the host showed " + e.shown }

// decide returns nil for a key to trust, and whether it is new and to be recorded once the login has succeeded.
func (d *doorman) decide(ctx context.Context, key ssh.PublicKey, ask *interview) (isNew bool, err error) {
	v, lines := d.known.judge(d.place, key)
	if v == keyRevoked {
		return false, d.refuse("the host key %s is revoked by %s", sshkey.Describe(sshkey.Plain(key)), lines[0].where()).
			Advise("the key is known to be stolen or out of use: ask the administrator of the host for its new key")
	}
	if why := d.revoked.Why(key); why != "" {
		return false, d.refuse("%s", why).
			Advise("the key is known to be stolen or out of use: ask the administrator of the host for its new key")
	}
	if d.fingerprint != "" {
		return false, d.pinned(key, v, lines)
	}
	switch v {
	case keyKnown:
		return false, nil
	case keyChanged:
		return false, d.changed(key, lines)
	}
	return d.unknown(ctx, sshkey.Plain(key), ask)
}

func (d *doorman) pinned(key ssh.PublicKey, v verdict, lines []knownLine) error {
	if ssh.FingerprintSHA256(sshkey.Plain(key)) != d.fingerprint {
		return errOtherKey{sshkey.Describe(sshkey.Plain(key))}
	}
	if v == keyChanged {
		d.warn(fmt.Sprintf("%s has another key for %s than the fingerprint that was given and that the host has shown", lines[0].where(), d.place.name))
	}
	return nil
}

func (d *doorman) unknown(ctx context.Context, key ssh.PublicKey, ask *interview) (isNew bool, err error) {
	if d.strict == acceptUnknown {
		return true, nil
	}
	if d.strict == askUnknown && ask.can() {
		ok, err := ask.confirm(ctx, fmt.Sprintf("%s is not known. Its key is %s.", d.place.name, sshkey.Describe(key)), ssh.FingerprintSHA256(key))
		if err != nil || ok {
			return ok, err
		}
	}
	f := d.refuse("the host is not known; its key is %s", sshkey.Describe(key))
	if !d.last {
		return false, f.Advise("compare the fingerprint with one that you trust, then use --accept-new to record the key")
	}
	return false, f.Advise("compare the fingerprint with one that you trust, then use --host-fingerprint %s, or --accept-new to record the key", ssh.FingerprintSHA256(key))
}

func (d *doorman) changed(key ssh.PublicKey, lines []knownLine) error {
	var old []string
	for _, l := range lines {
		old = append(old, sshkey.Describe(l.key)+" at "+l.where())
	}
	return d.refuse("the host key has changed: it is now %s, known is %s", sshkey.Describe(sshkey.Plain(key)), strings.Join(old, ", ")).
		Advise("somebody may be listening in, or the host was set up anew: ask its administrator; if the new key is right, remove the old one: ssh-keygen -f %s -R '%s'", lines[0].file, d.place.name)
}

func (d *doorman) refuse(format string, args ...any) *manifest.Failure {
	return manifest.Fail(manifest.KindHostKey, "check host key", format, args...)
}

// remember takes in a new key: for this program at once, in the file as one line in one write. A file that cannot be
// written is a warning, since the login has succeeded.
func (d *doorman) remember(key ssh.PublicKey) {
	key = sshkey.Plain(key)
	d.known.add(knownLine{file: "accepted before", hosts: d.place.name, key: key})
	if d.record == "" {
		return
	}
	name := d.place.name
	if d.hash {
		name = knownhosts.HashHostname(name)
	}
	line := name + " " + string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(key))) + "\n"
	if err := appendLine(d.record, line); err != nil {
		d.warn("the host key could not be recorded: " + err.Error())
		return
	}
	d.warn(fmt.Sprintf("the key of %s, %s, is now recorded in %s", d.place.name, sshkey.Describe(key), d.record))
}

// appendLine adds a line, after a line end when the file lacks one. The file is created for its owner alone.
func appendLine(file, line string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	_, err = f.WriteString(line)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
