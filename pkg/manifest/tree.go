package manifest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// TreeDigest is one digest for everything in a model directory that Triton reads: the paths of all files and directories,
// and the files' sizes and digests; neither modes nor times. The order of files and dirs does not matter.
func TreeDigest(files []File, dirs []string) Digest {
	lines := make([]string, 0, len(files)+len(dirs))
	for _, f := range files {
		lines = append(lines, fmt.Sprintf("%s\x00file %d %s\x00", f.Path, f.Size, f.Digest))
	}
	for _, d := range dirs {
		lines = append(lines, d+"\x00dir\x00")
	}
	slices.Sort(lines)
	return digest.FromString(strings.Join(lines, ""))
}
