//go:build embed_agents

package agentbin

import "embed"

// Each file is named clara-push-OS-ARCH.gz. `packaging/agents.sh` makes them.
//
//go:embed agents/*.gz
var agents embed.FS
