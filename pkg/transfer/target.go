// Package transfer brings artifacts to a host: it asks what the host has, lets package manifest decide what follows, sends
// what is missing and has the host apply it. How things land is package loader's business, where they come from package
// source's. Read Push first.
package transfer

import (
	"context"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A Source yields artifacts and their bytes. Package source has the implementations.
type Source interface {
	// Artifacts tells what is to be pushed, for platform p; the zero platform leaves the choice to the source.
	Artifacts(ctx context.Context, p manifest.Platform) (manifest.Artifacts, error)
	// Open reads the blob d from offset on: any blob of the artifacts, any offset, any number of times, from several
	// goroutines at once.
	Open(ctx context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error)
	Close() error
}

// A Checker is a Source that has been where anybody could change it, such as a bundle on a stick. What a plan will read of it is
// checked before anything is changed, and once more, as from any source, while it is read.
type Checker interface {
	// Verify hashes the blobs of these digests and fails with KindIntegrity when some are not what their digests say.
	Verify(ctx context.Context, digests []manifest.Digest, ev manifest.Events) error
}

// A Target is where artifacts land.
type Target interface {
	// Platform is what the target runs.
	Platform() manifest.Platform
	// Inventory tells what the target has, as far as q asks. On a target whose connection was lost it connects again.
	Inventory(ctx context.Context, q manifest.Query) (manifest.Inventory, error)
	// Apply carries p out with the bytes of src. It fails with KindConnect when the connection is lost, with KindStale when
	// the target is no longer as p supposes; then a new plan is needed. Either way what has arrived is kept.
	Apply(ctx context.Context, p manifest.Plan, src Source, ev manifest.Events) (manifest.Receipt, error)
	Close() error
}

// A Keeper looks after what was placed on a target. Both targets are one.
type Keeper interface {
	// Status tells what was placed and whether it still is as the receipts say.
	Status(ctx context.Context) (manifest.Status, error)
	// Rollback puts back what the last push or load replaced, or of what names, what the last push of each replaced. It fails
	// with KindNotFound when there is nothing to go back to, with KindDrift when somebody else has changed it since.
	Rollback(ctx context.Context, what manifest.Selection) (manifest.Receipt, error)
	// Remove takes away what was placed, for good. It fails with KindNotFound for what no receipt speaks of, with KindDrift
	// when somebody else has changed it since.
	Remove(ctx context.Context, what manifest.Selection) (manifest.Receipt, error)
	// Sweep removes what is staged, held by no push, and was not touched for age.
	Sweep(ctx context.Context, age time.Duration) (manifest.Swept, error)
}
