package signature

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// The files that are looked for where no others are named.
const (
	folderName  = "clara-push"
	allowedName = "allowed_signers"
	revokedName = "revoked_signers"
)

// DefaultAllowedSigners returns those files that exist of allowed_signers in clara-push of the user's configuration folder
// (~/.config) and of the machine's (/etc; ProgramData on Windows). A file in the configuration folder that belongs to
// somebody else than the user is not looked at, so that sudo with a kept HOME trusts nobody new.
func DefaultAllowedSigners() []string { return existing(allowedName) }

// DefaultRevoked returns the files revoked_signers in the same folders. They count beside any others that are named.
func DefaultRevoked() []string { return existing(revokedName) }

func existing(name string) (found []string) {
	user, err := os.UserConfigDir()
	if path := filepath.Join(user, folderName, name); err == nil && exists(path) && ours(path) {
		found = append(found, path)
	}
	if path := filepath.Join(machineConfig(), folderName, name); exists(path) {
		found = append(found, path)
	}
	return found
}

// exists is true also where that cannot be told: reading it then fails, and nobody is let in by that.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// usualPlace is where hints say that a signer belongs.
func usualPlace() string { return filepath.Join(machineConfig(), folderName, allowedName) }

// readTrust reads a file that decides whom to trust, and so must be in the hands of those who may decide that.
func readTrust[T any](path string, parse func(io.Reader, string) (T, error)) (out T, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return out, manifest.Fail(manifest.KindNotFound, step, "%w", err).Advise("no bundle is trusted without this file: correct its name, or create it")
	}
	if err != nil {
		return out, manifest.Fail(manifest.KindPolicy, step, "%w", err).Advise("no bundle is trusted while this file cannot be read")
	}
	defer f.Close()
	if why, hint := writableByOthers(f); why != "" {
		return out, manifest.Fail(manifest.KindPolicy, step, "%s is not trusted: %s", path, why).Advise("%s", hint)
	}
	if out, err = parse(f, path); err != nil {
		return out, manifest.Fail(manifest.KindPolicy, step, "%w", err).Advise("no bundle is trusted while this file has a mistake: correct it")
	}
	return out, nil
}
