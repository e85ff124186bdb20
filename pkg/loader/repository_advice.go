//go:build linux

package loader

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// prepareStage is the command that makes the stage beside the repository at path; empty when this user can make it, or has
// it already.
func prepareStage(path string) string {
	parent := filepath.Dir(filepath.Clean(path))
	if real, err := filepath.EvalSymlinks(parent); err == nil {
		parent = real
	}
	stage := filepath.Join(parent, stageName)
	var st syscall.Stat_t
	switch err := syscall.Lstat(stage, &st); {
	case err == nil && int(st.Uid) == os.Geteuid(), os.Geteuid() == 0:
		return ""
	case err == nil:
		return handOver(stage)
	case unix.Access(parent, unix.W_OK|unix.X_OK) == nil:
		return ""
	}
	return fmt.Sprintf("sudo install -d -m 0700 -o %s %s", runningAs(), quoted(stage))
}

func handOver(dir string) string { return fmt.Sprintf("sudo chown -R %s %s", runningAs(), quoted(dir)) }

// commands are shell commands as one, without the empty ones.
func commands(all ...string) string {
	var some []string
	for _, c := range all {
		if c != "" {
			some = append(some, c)
		}
	}
	return strings.Join(some, " && ")
}

// mendStage says what to do about dir, the stage or a folder of it, which ownFolder refused.
func mendStage(dir string) string {
	var st syscall.Stat_t
	err := syscall.Lstat(dir, &st)
	switch {
	case err != nil:
		return fmt.Sprintf(manifest.AsRoot+", or prepare it once: sudo install -d -m 0700 -o %s %s", runningAs(), quoted(dir))
	case st.Mode&syscall.S_IFMT != syscall.S_IFDIR:
		return "see what it is, and move it away"
	case int(st.Uid) == os.Geteuid():
		return "take the right from the others once: sudo chmod go-w " + quoted(dir)
	case st.Uid == 0:
		return manifest.AsRoot + ", as somebody did before, or hand it over once: " + handOver(dir)
	}
	return fmt.Sprintf("push as %s, who did before, or hand it over once: %s", nameOf(st.Uid), handOver(dir))
}

// nameOf is a user's name, or the number when it has none.
func nameOf(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

// runningAs is the user's name as commands take it.
func runningAs() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
}

// quoted writes a path so that a shell reads it as one word.
func quoted(path string) string {
	if !strings.ContainsFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-+@", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
