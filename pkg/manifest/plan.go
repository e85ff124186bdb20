package manifest

// Action is what an image needs on the host.
type Action string

// The actions, from least to most work.
const (
	ActionNothing Action = "nothing" // the name points at this very image already
	ActionTag     Action = "tag"     // the image is there, the name must be moved
	ActionLoad    Action = "load"    // something must be loaded

	// In receipts only.
	ActionFormer Action = "rollback" // the name was given back to the former image
	ActionRemove Action = "remove"   // the name was taken away
)

// LayerPlan is one layer as the image on the host will name it.
type LayerPlan struct {
	Layer
	// Present tells that the engine has the layer, or will have it from an earlier image of the same plan: it does not travel.
	Present bool `json:"present"`
	// Inflate tells that the engine cannot read the layer's compression, so the loader must undo it.
	Inflate bool `json:"inflate,omitempty"`
}

// ImagePlan is what one image needs.
type ImagePlan struct {
	Image  Image       `json:"image"`
	Action Action      `json:"action"`
	Layers []LayerPlan `json:"layers,omitempty"`
	// Manifest is the descriptor of the source's manifest when it goes to the host byte for byte; its Digest is empty when
	// a manifest is composed of Layers, or when the engine's store keeps none.
	Manifest Descriptor `json:"manifest"`
	// Existing is the engine's ID of the image to be tagged, for ActionTag.
	Existing string `json:"existing,omitempty"`
	// Former is the engine's ID of the image that bears the name now; empty when none does. The name is moved only if it
	// still points there.
	Former string `json:"former,omitempty"`
}

// Needs lists what must come from the source for an image that is to be loaded, once each, in the order in which loading
// reads it: the layers that are not present, the config, and the manifest where it is the source's own.
func (p ImagePlan) Needs() []BlobPlan {
	if p.Action != ActionLoad {
		return nil
	}
	seen := map[Digest]bool{"": true}
	var blobs []BlobPlan
	add := func(d Descriptor, unpacked int64) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			blobs = append(blobs, BlobPlan{Descriptor: d, Unpacked: unpacked})
		}
	}
	for _, l := range p.Layers {
		if !l.Present {
			add(l.Descriptor, l.Unpacked)
		}
	}
	add(p.Image.Config, 0)
	add(p.Manifest, 0)
	return blobs
}

// BlobPlan is one blob that must be in the stage before the host can load, and what of it is there.
type BlobPlan struct {
	Descriptor
	// Unpacked estimates the blob's size in bytes where Size is UnknownSize; 0 when there is no estimate.
	Unpacked int64 `json:"unpacked,omitempty"`
	// Staged are the numbers of the chunks that the host holds already, ascending.
	Staged []int `json:"staged,omitempty"`
}

// Plan says what a push will do. It is made by Diff and decides everything: both ends only carry it out.
type Plan struct {
	Store  Store       `json:"store"`
	Images []ImagePlan `json:"images,omitempty"`
	// Blobs are what must be in the stage, once each, in the order in which loading reads them.
	Blobs []BlobPlan `json:"blobs,omitempty"`
	// Models in the order in which they are placed. Files are what must be in their stage, once each.
	Models []ModelPlan `json:"models,omitempty"`
	Files  []BlobPlan  `json:"files,omitempty"`
	Sizes  Sizes       `json:"sizes"`
	Keep   int         `json:"keep"` // how many former images stay reachable for a rollback
	// Session names the push, From says who pushes; the receipt bears both.
	Session string `json:"session"`
	From    string `json:"from"`
	// Provenance goes into the receipt.
	Provenance *Provenance `json:"provenance,omitempty"`
}

// Sizes sums a plan up, in bytes of the blobs as the source holds them (before compression on the wire).
type Sizes struct {
	Send    int64 `json:"send"`    // must travel
	Staged  int64 `json:"staged"`  // travelled before, waits in the stage
	Present int64 `json:"present"` // spared: the host's engine has it
	// Unknown counts blobs to send whose size is not known yet; an estimate of theirs is part of Send where there is one.
	Unknown int `json:"unknown"`
	// Stage and Engine are the room needed on the host.
	Stage  int64 `json:"stage"`
	Engine int64 `json:"engine"`
	Models int64 `json:"models,omitempty"` // beside the repository of models
}

// Nothing reports whether the host has everything already.
func (p Plan) Nothing() bool {
	for _, i := range p.Images {
		if i.Action != ActionNothing {
			return false
		}
	}
	for _, m := range p.Models {
		if m.Place != PlaceNothing {
			return false
		}
	}
	return true
}

// ChunkSize is how many raw bytes of a blob travel and are kept as one chunk; only the last of a blob is smaller. Part of
// the protocol.
const ChunkSize int64 = 2 << 20

// Chunks is how many chunks a blob of size bytes has. An empty blob has none.
func Chunks(size int64) int {
	return int((size + ChunkSize - 1) / ChunkSize)
}

// ChunkLen is how many raw bytes chunk number index of a blob of size bytes has.
func ChunkLen(size int64, index int) int64 {
	return min(ChunkSize, size-int64(index)*ChunkSize)
}
