package transfer

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/agentbin"
)

// machines are the architectures that a host may have, with what its uname -m answers.
var machines = []struct {
	goarch string
	uname  []string
	elf    elf.Machine
}{
	{"amd64", []string{"x86_64", "amd64"}, elf.EM_X86_64},
	{"arm64", []string{"aarch64", "arm64"}, elf.EM_AARCH64},
}

// binaries are the programs that this clara-push can bring to a host: the one at path, or what package agentbin has.
type binaries struct {
	path string

	once sync.Once
	sums map[string]string // by architecture: sha256 in hexadecimal digits
	err  error
}

// open returns the program for goarch.
func (b *binaries) open(goarch string) (io.ReadCloser, error) {
	if b.path != "" {
		return os.Open(b.path)
	}
	r, _, err := agentbin.For("linux", goarch)
	return r, err
}

// cases are the branches of the shell's case statement that set h to the digest for the host's machine.
func (b *binaries) cases() (string, error) {
	b.once.Do(func() { b.sums, b.err = b.digests() })
	if b.err != nil {
		return "", b.err
	}
	var text strings.Builder
	for _, m := range machines {
		if sum := b.sums[m.goarch]; sum != "" {
			fmt.Fprintf(&text, "%s) h=%s;; ", strings.Join(m.uname, "|"), sum)
		}
	}
	return text.String(), nil
}

func (b *binaries) digests() (map[string]string, error) {
	sums := map[string]string{}
	for _, m := range machines {
		if b.path != "" {
			if fits, err := isFor(b.path, m.elf); err != nil {
				return nil, err
			} else if !fits {
				continue
			}
		}
		sum, err := b.digest(m.goarch)
		if manifest.KindOf(err) == manifest.KindNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		sums[m.goarch] = sum
	}
	return sums, nil
}

func (b *binaries) digest(goarch string) (string, error) {
	if b.path == "" {
		return agentbin.Digest("linux", goarch)
	}
	r, err := b.open(goarch)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", manifest.Fail(manifest.KindInternal, "agent", "read the program for %s: %w", goarch, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// isFor reports whether the program at path is a Linux program for m.
func isFor(path string, m elf.Machine) (bool, error) {
	f, err := elf.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, manifest.Fail(manifest.KindNotFound, "agent", "%w", err).Advise("name a clara-push built for the host with --agent")
	}
	if err != nil {
		return false, manifest.Fail(manifest.KindUsage, "agent", "%s is not a Linux program: %w", path, err).
			Advise("name a clara-push built for the host with --agent")
	}
	defer f.Close()
	return f.Machine == m, nil
}

// goarchOf translates what uname said.
func goarchOf(kernel, machine string) (string, error) {
	for _, m := range machines {
		for _, u := range m.uname {
			if kernel == "Linux" && u == machine {
				return m.goarch, nil
			}
		}
	}
	return "", manifest.Fail(manifest.KindNotFound, "agent", "the host is %s on %s; clara-push has agents for Linux on amd64 and arm64",
		manifest.Plain(kernel), manifest.Plain(machine)).Advise("install clara-push in the host's PATH")
}
