// Package agentbin knows where the program is that shall run as agent on a host of another platform: in this very file,
// compressed, or this very file itself.
//
// It only finds bytes. Bringing them to a host and starting them there is package transfer.
//
// A release is built in two stages. The bare stage makes clara-push for each Platform of hosts without the build tag
// embed_agents; `packaging/agents.sh` compresses the results into the folder agents. The final stage builds with the tag
// and so carries them. A bare program serves hosts of its own platform with itself.
//
// Read For first.
package agentbin

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// For returns clara-push as a program for goos/goarch, in Go's words, and its size in bytes. The caller closes it.
// It fails with KindNotFound when this build has none, and says how to make one.
func For(goos, goarch string) (io.ReadCloser, int64, error) {
	bin, size, err := packed(agents, goos, goarch)
	if !errors.Is(err, fs.ErrNotExist) {
		return bin, size, err
	}
	if own := runtime.GOOS + "/" + runtime.GOARCH; runtime.GOOS != "linux" || own != goos+"/"+goarch {
		return nil, 0, missing(goos, goarch, "this build of clara-push carries no agent for %s/%s", goos, goarch)
	}
	if !isClaraPush() {
		return nil, 0, missing(goos, goarch, "this program is not clara-push itself, so it cannot serve as agent")
	}
	return self()
}

// Digest returns the sha256 of what For returns, in hexadecimal digits. Of an embedded program it was noted when that was
// packed, because unpacking it anew would cost each push most of a second; whoever brings a program to a host must compare.
func Digest(goos, goarch string) (string, error) {
	if sum, err := noted(agents, goos, goarch); err == nil {
		return sum, nil
	}
	r, _, err := For(goos, goarch)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", manifest.Fail(manifest.KindInternal, "find agent", "read the program for %s/%s: %w", goos, goarch, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// noted reads the digest beside the compressed agent in folder.
func noted(folder fs.FS, goos, goarch string) (string, error) {
	raw, err := fs.ReadFile(folder, file(goos, goarch)+".sha256")
	if err != nil {
		return "", err
	}
	sum := strings.TrimSpace(string(raw))
	if !hexDigest.MatchString(sum) {
		return "", fmt.Errorf("%.80q is not a digest", sum)
	}
	return sum, nil
}

// file is where an agent is embedded, without its ending.
func file(goos, goarch string) string {
	return fmt.Sprintf("agents/clara-push-%s-%s", path.Base(goos), path.Base(goarch))
}

// Embedded lists the platforms whose agent this build carries, as "linux/amd64"; none for a build without the tag
// embed_agents.
func Embedded() []string {
	var platforms []string
	names, _ := fs.Glob(agents, "agents/clara-push-*.gz")
	for _, n := range names {
		n = strings.TrimSuffix(strings.TrimPrefix(path.Base(n), "clara-push-"), ".gz")
		platforms = append(platforms, strings.Replace(n, "-", "/", 1))
	}
	return platforms
}

func missing(goos, goarch, format string, args ...any) error {
	return manifest.Fail(manifest.KindNotFound, "find agent", format, args...).
		Advise("take a release build, or build one: CGO_ENABLED=0 GOOS=%s GOARCH=%s go build -o clara-push-agent ./cmd/clara-push, and name it with --agent clara-push-agent", goos, goarch)
}

// packed opens the compressed agent in folder; fs.ErrNotExist when it is not there.
func packed(folder fs.FS, goos, goarch string) (io.ReadCloser, int64, error) {
	raw, err := fs.ReadFile(folder, file(goos, goarch)+".gz")
	if err != nil {
		return nil, 0, err
	}
	r, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil || len(raw) < 4 {
		return nil, 0, manifest.Fail(manifest.KindInternal, "find agent", "the embedded agent for %s/%s is damaged: %w", goos, goarch, err)
	}
	// The last four bytes of a gzip file are its content's size (RFC 1952, 2.3.1); agents are far below 4 GiB.
	return r, int64(binary.LittleEndian.Uint32(raw[len(raw)-4:])), nil
}

// isClaraPush guards against giving away whatever program this package was linked into: a host would run it with the
// argument "agent". The test binary of the command answers to that as the command does.
func isClaraPush() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && path.Base(strings.TrimSuffix(info.Path, ".test")) == "clara-push"
}

// self opens the running program, which /proc finds even after its file was replaced.
func self() (io.ReadCloser, int64, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, 0, manifest.Fail(manifest.KindInternal, "find agent", "open this program: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, manifest.Fail(manifest.KindInternal, "find agent", "look at this program: %w", err)
	}
	return f, info.Size(), nil
}
