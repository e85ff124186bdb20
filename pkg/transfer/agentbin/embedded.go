//go:build embed_agents

package agentbin

import "embed"

// Each program is in clara-push-OS-ARCH.gz, its digest in clara-push-OS-ARCH.sha256. `packaging/agents.sh` makes both.
//
//go:embed agents/*.gz agents/*.sha256
var agents embed.FS
