package manifest

import "time"

// Status is what clara-push placed on a host and whether it still is there as the receipts say.
type Status struct {
	Host     string           `json:"host"`
	State    string           `json:"state,omitempty"` // the folder that holds the receipts; agents of older versions do not tell
	Images   []InstalledImage `json:"images,omitempty"`
	Models   []InstalledModel `json:"models,omitempty"`
	Releases []Release        `json:"releases,omitempty"` // the newest of each application
	Warnings []string         `json:"warnings,omitempty"`
}

// Drift says how something differs from its receipt; empty when it does not.
type Drift string

// The drifts.
const (
	DriftNone    Drift = ""
	DriftGone    Drift = "gone"    // the name, or the model, is not there any more
	DriftMoved   Drift = "moved"   // the name points at another image
	DriftChanged Drift = "changed" // files of the model are not what was placed
	DriftBroken  Drift = "broken"  // the engine has the image only in part
)

// InstalledImage is one name that clara-push gave, as its newest receipt tells it and as it is now.
type InstalledImage struct {
	Ref     string      `json:"ref"`
	Receipt string      `json:"receipt"` // ID
	Since   time.Time   `json:"since"`
	Placed  State       `json:"placed"` // by the receipt
	Now     State       `json:"now"`
	Drift   Drift       `json:"drift,omitempty"`
	From    *Provenance `json:"from,omitempty"`
	// Foreign tells that clara-push did not place it: it was there before, and a rollback has put it back.
	Foreign bool `json:"foreign,omitempty"`
	// Back tells that a former image is kept for a rollback.
	Back bool `json:"back"`
}

// InstalledModel is one model that clara-push placed.
type InstalledModel struct {
	Name       string    `json:"name"`
	Repository string    `json:"repository"`
	Receipt    string    `json:"receipt"` // ID
	Since      time.Time `json:"since"`
	Placed     Digest    `json:"placed"` // tree digest by the receipt, see TreeDigest
	Now        Digest    `json:"now,omitempty"`
	Drift      Drift     `json:"drift,omitempty"`
	// Changed are the paths that differ, some of them when they are many; empty when the receipt does not list files.
	Changed []string    `json:"changed,omitempty"`
	From    *Provenance `json:"from,omitempty"`
	Foreign bool        `json:"foreign,omitempty"` // as for an image
	Back    bool        `json:"back"`
}

// Selection names images and models. To a rollback the zero value means the last push or load as a whole.
type Selection struct {
	Images []string `json:"images,omitempty"`
	Models []string `json:"models,omitempty"`
	// Force goes on where somebody else has changed what was placed; what they changed is lost.
	Force bool `json:"force,omitempty"`
}

// Empty reports whether s names nothing.
func (s Selection) Empty() bool { return len(s.Images)+len(s.Models) == 0 }
