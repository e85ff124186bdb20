package manifest

import "time"

// State is one name and what it points at: an engine's ID of an image with its config and manifest digests. The zero
// value means that nothing bore the name.
type State struct {
	ID       string `json:"id,omitempty"`
	Config   Digest `json:"config,omitempty"`
	Manifest Digest `json:"manifest,omitempty"`
}

// Done says what happened to one image.
type Done struct {
	Ref    string `json:"ref"`
	Action Action `json:"action"`
	Before State  `json:"before"`
	After  State  `json:"after"`
	// Keeper is the name under which the former image stays reachable; empty when there was none or none is kept.
	Keeper string `json:"keeper,omitempty"`
	// Proof says how it was proven that the image is whole, one sentence an item.
	Proof []string `json:"proof"`
	// Stale are containers that still run the former image.
	Stale []Container `json:"stale,omitempty"`
	// Undoes is the ID of the receipt that a rollback takes back.
	Undoes string `json:"undoes,omitempty"`
}

// Changed reports whether the name points at something else than before.
func (d Done) Changed() bool { return d.Before.ID != d.After.ID }

// Act is the sort of thing that a receipt records.
type Act string

// The acts.
const (
	ActPush     Act = "" // a push or a load
	ActRollback Act = "rollback"
	ActRemove   Act = "remove"
)

// Receipt is the record of one push, load, rollback or removal: what was done, by whom, when and how proven. It lies on
// the host as JSON.
type Receipt struct {
	Act      Act       `json:"act,omitempty"`
	ID       string    `json:"id"`   // sorts by time: 20261122T140501Z-1f2e3d4c
	Tool     string    `json:"tool"` // version of clara-push on the host
	Session  string    `json:"session"`
	From     string    `json:"from"` // user@machine that pushed
	User     string    `json:"user"` // whom the agent ran as
	Host     string    `json:"host"` // the host's own name
	Engine   Engine    `json:"engine"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Images   []Done    `json:"images,omitempty"`
	// Repository is the folder of Models.
	Repository string      `json:"repository,omitempty"`
	Models     []DoneModel `json:"models,omitempty"`
	Path       string      `json:"path,omitempty"` // where it lies on the host
	Warnings   []string    `json:"warnings,omitempty"`
	// Provenance is the bundle that it came from; nil for anything else.
	Provenance *Provenance `json:"provenance,omitempty"`
	// Completed tells that what it records was left in the middle by a process that died, and completed by the next start.
	Completed bool `json:"completed,omitempty"`
}

// Swept says what a clean-up removed from the stage.
type Swept struct {
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
	// Held counts blobs that stay because a push holds them or they are young.
	Held int `json:"held"`
}
