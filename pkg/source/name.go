package source

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// place is where a name says that the image is.
type place string

const (
	anywhere   place = ""
	inEngine   place = "engine://"
	inRegistry place = "registry://"
	inArchive  place = "archive:"
	inLayout   place = "layout:"
	inPath     place = "path" // an archive or a layout: the file system tells which
)

// placeOf splits a name as the user wrote it into the place that it forces and the rest.
func placeOf(name string) (place, string) {
	for _, p := range []place{inEngine, inRegistry, inArchive, inLayout} {
		if rest, ok := strings.CutPrefix(name, string(p)); ok {
			return p, rest
		}
	}
	if path, _ := splitPath(name); onlyPath(name) || hasArchiveSuffix(path) {
		return inPath, name
	}
	return anywhere, name
}

// onlyPath reports whether name cannot be the name of an image.
func onlyPath(name string) bool {
	for _, p := range []string{"/", "./", "../", "~/"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	if runtime.GOOS == "windows" && (strings.Contains(name, `\`) || filepath.VolumeName(name) != "") {
		return true
	}
	return name == "." || name == ".."
}

func hasArchiveSuffix(path string) bool {
	for _, s := range []string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"} {
		if strings.HasSuffix(strings.ToLower(path), s) {
			return true
		}
	}
	return false
}

// splitPath splits PATH[:REF]. Both halves may contain colons: the longest PATH that exists wins, and when none exists the
// whole is a path, unless what stands before a colon looks like an archive.
func splitPath(s string) (path, ref string) {
	if exists(s) {
		return s, ""
	}
	for i := len(s) - 1; i > 0; i-- {
		if s[i] == ':' && (exists(s[:i]) || hasArchiveSuffix(s[:i])) {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func exists(path string) bool {
	_, err := os.Stat(home(path))
	return err == nil
}

// home replaces a leading "~/", which a shell leaves alone behind "archive:".
func home(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	if dir, err := os.UserHomeDir(); ok && err == nil {
		return filepath.Join(dir, rest)
	}
	return path
}

// hostRef normalises a name to what it is called on the host: the familiar form with a tag. A digest behind a tag is
// dropped; one without a tag cannot be a name.
func hostRef(name string) (string, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", manifest.Fail(manifest.KindUsage, "find image", "%.200q is not an image name: %w", name, err).
			Advise("name it on the host with --as NAME:TAG")
	}
	if reference.FamiliarName(named) == string(digest.SHA256) { // engines take it for a digest
		return "", manifest.Fail(manifest.KindUsage, "find image", "%.200q is a digest, not an image name", name).
			Advise("name it on the host with --as NAME:TAG")
	}
	tag := "latest"
	if t, ok := named.(reference.Tagged); ok {
		tag = t.Tag()
	} else if _, ok := named.(reference.Digested); ok {
		return "", manifest.Fail(manifest.KindUsage, "find image", "%s has a digest but no tag", name).
			Advise("name it on the host with --as NAME:TAG")
	}
	tagged, err := reference.WithTag(reference.TrimNamed(named), tag)
	if err != nil {
		return "", manifest.Fail(manifest.KindUsage, "find image", "%.200q: %w", name, err)
	}
	return reference.FamiliarString(tagged), nil
}

// sameName reports whether a and b name the same image on the host.
func sameName(a, b string) bool {
	x, errX := hostRef(a)
	y, errY := hostRef(b)
	return a == b || (errX == nil && errY == nil && x == y)
}
