package dial

import (
	"bufio"
	"bytes"
	"os"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/sshkey"
)

// revokedKeys are the keys of the file that RevokedHostKeys names.
type revokedKeys struct {
	file string
	keys map[string]bool // marshalled
}

// readRevoked reads a text file of public keys, one a line. As in ssh, no host is trusted when the file cannot be
// read; that includes the binary form made by ssh-keygen -k. An empty name means that there is no such file.
func readRevoked(file string) (*revokedKeys, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, manifest.Fail(manifest.KindHostKey, "check host key", "RevokedHostKeys of ssh_config: %w", err).
			Advise("no host is trusted without this file: correct its name in ssh_config, or create it")
	}
	if bytes.HasPrefix(data, []byte("SSHKRL\n\x00")) {
		return nil, manifest.Fail(manifest.KindHostKey, "check host key", "RevokedHostKeys %s of ssh_config is a binary revocation list, which only ssh can read", file).
			Advise("keep the revoked keys as text, one public key a line")
	}
	r := &revokedKeys{file: file, keys: map[string]bool{}}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(text)
		if err != nil {
			return nil, manifest.Fail(manifest.KindHostKey, "check host key", "RevokedHostKeys %s: %w", file, err).
				Advise("no host is trusted while a line of this file cannot be read: correct it")
		}
		r.keys[string(key.Marshal())] = true
	}
	return r, lines.Err()
}

func (r *revokedKeys) has(key ssh.PublicKey) bool {
	if r == nil {
		return false
	}
	if ca := sshkey.Authority(key); ca != nil && r.keys[string(ca.Marshal())] {
		return true
	}
	return r.keys[string(sshkey.Plain(key).Marshal())] || r.keys[string(key.Marshal())]
}
