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
	out, ok2 := stdio.Out.(*os.File)
	if !ok || !ok2 {
		return manifest.Fail(manifest.KindInternal, "agent", "its input and output are not files")
	}
	return agent.Serve(ctx, in, out, agent.Options{Version: versionText()})
}
