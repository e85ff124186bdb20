//go:build linux

package lab

import (
	"os"
	"os/exec"
	"path/filepath"
)

// CacheDir is where the lab keeps what is built once for this machine: the modern engine, runc, the hello program.
// It is $CLARA_PUSH_LAB_CACHE, else clara-push-lab in the user's cache folder.
func CacheDir() string {
	if d := os.Getenv("CLARA_PUSH_LAB_CACHE"); d != "" {
		return d
	}
	if d, err := os.UserCacheDir(); err == nil {
		return filepath.Join(d, "clara-push-lab")
	}
	return filepath.Join(os.TempDir(), "clara-push-lab-cache")
}

// systemPath is the search path of every part: that of the distribution, without what the user has added to his own.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// findProgram looks where distributions put programs, in PATH, then in the folders given.
func findProgram(name string, dirs ...string) (string, bool) {
	dirs = append([]string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}, dirs...)
	for _, d := range dirs {
		p := filepath.Join(d, name)
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return p, true
		}
	}
	p, err := exec.LookPath(name)
	return p, err == nil
}

// findCached looks in the lab's cache only.
func findCached(name string) (string, bool) {
	p := filepath.Join(CacheDir(), "bin", name)
	fi, err := os.Stat(p)
	return p, err == nil && fi.Mode()&0o111 != 0
}
