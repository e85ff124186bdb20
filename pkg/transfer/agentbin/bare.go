//go:build !embed_agents

package agentbin

import "embed"

// agents is empty in a bare build.
var agents embed.FS
