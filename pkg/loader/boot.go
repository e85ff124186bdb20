package loader

import (
	"os"
	"strings"
)

// Boot names this run of this machine's kernel: processes that see the same name share its processors. It is empty where the
// system does not tell.
func Boot() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(raw) > 64 {
		return ""
	}
	return strings.TrimSpace(string(raw))
}
