package main

import (
	"context"
	"os"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/agent"
)

// serve is the far end of connect.
func serve(ctx context.Context, stdio IO) error {
	in, ok := stdio.In.(*os.File)
	if !ok {
		return manifest.Fail(manifest.KindInternal, "agent", "its input is not a file")
	}
	return agent.Serve(ctx, in, stdio.Out, agent.Options{Version: versionText()})
}
