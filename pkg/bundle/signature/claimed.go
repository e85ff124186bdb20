package signature

import (
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/sshkey"
)

// Claimed tells by which key an armored signature says it was made: its fingerprint, and for people its kind and who certified
// it. Nothing of that is checked, and anybody can write any key into a signature: only Policy.Check says whether it counts.
// It fails with KindPolicy for what is no signature.
func Claimed(armored []byte) (fingerprint, words string, err error) {
	s, err := parse(armored)
	if err != nil {
		return "", "", manifest.Fail(manifest.KindPolicy, step, "the bundle's signature cannot be read: %s", manifest.Plain(err.Error())).Advise(hintDamaged)
	}
	return sshkey.Fingerprint(s.PublicKey), describe(s.PublicKey), nil
}
