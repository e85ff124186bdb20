package dial

import (
	"os"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/sshkey"
)

// readRevoked reads the file that RevokedHostKeys names, text or binary. As in ssh, no host is trusted when it cannot be
// read. An empty name means that there is no such file.
func readRevoked(file string) (*sshkey.Revoked, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, manifest.Fail(manifest.KindHostKey, "check host key", "RevokedHostKeys of ssh_config: %w", err).
			Advise("no host is trusted without this file: correct its name in ssh_config, or create it")
	}
	defer f.Close()
	revoked, err := sshkey.ParseRevoked(f, file)
	if err != nil {
		return nil, manifest.Fail(manifest.KindHostKey, "check host key", "RevokedHostKeys of ssh_config: %w", err).
			Advise("no host is trusted while this file cannot be read: correct it")
	}
	return revoked, nil
}
