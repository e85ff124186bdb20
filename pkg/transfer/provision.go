package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/dial"
)

// provision brings the program for the host's machine to <folder>/<sha256>/clara-push: compressed, by SFTP, under a name
// of its own; unpacked, checked and renamed by the host.
func (b *binaries) provision(ctx context.Context, conn *dial.Conn, folder, kernel, machine string) error {
	goarch, err := goarchOf(kernel, machine)
	if err != nil {
		return err
	}
	if !plainPath.MatchString(folder) {
		return manifest.Fail(manifest.KindPermission, "agent", "the folder %q on the host has characters that cannot be used", manifest.Plain(folder)).
			Advise("name another folder with --agent-dir")
	}
	sum := b.sums[goarch]
	if sum == "" {
		if _, err := b.open(goarch); err != nil {
			return err
		}
		return manifest.Fail(manifest.KindUsage, "agent", "%s is not a program for linux/%s", b.path, goarch)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	dir := path.Join(folder, sum)
	name := path.Join(dir, "upload-"+newSession()+".gz")
	err = b.upload(conn.Client(), name, goarch)
	if errors.Is(err, errNoSFTP) && b.feed(conn.Client(), name, goarch) == nil {
		err = nil
	}
	if err != nil {
		return uploadFailure(folder, err)
	}
	return install(conn.Client(), folder, dir, name, sum)
}

// errNoSFTP is why upload did not even begin: there is no sftp-server, or a login script prints into it.
var errNoSFTP = errors.New("no sftp")

// errNoRoom is why a program could not be kept on the host.
var errNoRoom = errors.New("no space left on device")

// upload writes the compressed program to name by SFTP.
func (b *binaries) upload(client *ssh.Client, name, goarch string) error {
	s, err := sftp.NewClient(client, sftp.MaxConcurrentRequestsPerFile(64))
	if err != nil {
		return fmt.Errorf("%w: %w", errNoSFTP, err)
	}
	defer s.Close()
	if err := s.MkdirAll(path.Dir(name)); err != nil {
		return fmt.Errorf("make %s: %w", path.Dir(name), err)
	}
	f, err := s.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	packed, err := b.compressed(goarch)
	if err == nil {
		_, err = f.ReadFromWithConcurrency(packed, 64)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		if v, e := s.StatVFS(path.Dir(name)); e == nil && v.Frsize*v.Bavail < uint64(packed.Size()) {
			err = errNoRoom // sftp itself says no more than "Failure"
		}
		_ = s.Remove(name)
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// feed writes the compressed program to name through a command: what a login script prints does not get in its way.
func (b *binaries) feed(client *ssh.Client, name, goarch string) error {
	packed, err := b.compressed(goarch)
	if err != nil {
		return err
	}
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	session.Stdin = packed
	return session.Run("sh -c 'umask 077; mkdir -p " + path.Dir(name) + " && set -C && cat > " + name + "'")
}

// compressed holds the whole program, some MB, so that it is sent with its size known.
func (b *binaries) compressed(goarch string) (*bytes.Reader, error) {
	r, err := b.open(goarch)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(z, r); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return bytes.NewReader(buf.Bytes()), nil
}

func uploadFailure(folder string, err error) error {
	if errors.Is(err, errNoRoom) {
		return noRoom(folder, err)
	}
	f := manifest.Fail(manifest.KindPermission, "agent", "the program could not be brought to the host: %w", err)
	var status *sftp.StatusError
	if errors.As(err, &status) || errors.Is(err, os.ErrPermission) {
		return f.Advise("see that %s on the host can be written and has room, name another folder with --agent-dir, or install clara-push there", folder)
	}
	return f.Advise("see that the host's sshd offers sftp and that login scripts print nothing, or install clara-push in the host's PATH")
}

func noRoom(folder string, err error) error {
	return manifest.Fail(manifest.KindSpace, "agent", "the program could not be brought to the host: %w", err).
		Advise("free some space in %s on the host, or name another folder with --agent-dir", folder)
}

// installScript unpacks and checks. It prints the digest it found, so that the comparison is made here. Of the folder, which
// may be anybody's since --agent-dir names it, it removes only what a program of ours once was brought into.
const installScript = `umask 077; cd %dir% && gzip -dc < %gz% > %gz%.tmp && chmod 700 %gz%.tmp && sha256sum < %gz%.tmp && ` +
	`test "$(sha256sum < %gz%.tmp)" = "%sum%  -" && mv -f %gz%.tmp clara-push; r=$?; rm -f %gz% %gz%.tmp; ` +
	`find %folder% -mindepth 1 -maxdepth 1 -type d -name "%digest%" -mtime +30 -exec test -f {}/clara-push \; -exec rm -rf {} + 2>/dev/null; exit $r`

// anyDigest is the pattern of the names of folders that hold one program each.
var anyDigest = strings.Repeat("[0-9a-f]", 64)

// installCommand fills installScript in.
func installCommand(folder, dir, packed, sum string) string {
	return strings.NewReplacer("%dir%", dir, "%gz%", path.Base(packed), "%sum%", sum, "%folder%", folder, "%digest%", anyDigest).Replace(installScript)
}

func install(client *ssh.Client, folder, dir, packed, sum string) error {
	session, err := client.NewSession()
	if err != nil {
		return manifest.Fail(manifest.KindConnect, "agent", "%w", err)
	}
	defer session.Close()
	out, err := session.CombinedOutput("sh -c '" + installCommand(folder, dir, packed, sum) + "'")
	found, _, _ := strings.Cut(string(out), " ")
	switch {
	case err != nil && len(found) == 64 && found != sum:
		return manifest.Fail(manifest.KindIntegrity, "agent", "the program arrived damaged: sha256 %.64s, expected %s", manifest.Plain(found), sum).
			Advise("run the same command again")
	case err != nil && bytes.Contains(out, []byte("No space left")):
		return noRoom(folder, errNoRoom)
	case err != nil:
		return manifest.Fail(manifest.KindPermission, "agent", "the program could not be unpacked on the host: %s: %w", manifest.Plain(strings.TrimSpace(string(out))), err).
			Advise("see that %s can be written and has room, or install clara-push on the host", folder)
	}
	return nil
}
