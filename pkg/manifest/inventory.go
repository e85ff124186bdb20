package manifest

import (
	"slices"
	"time"
)

// Store says how an engine decides that it has a layer already.
type Store string

// The kinds of store.
const (
	StoreGraphdriver Store = "graphdriver" // by chain: the same layers below it, in the same order
	StoreContainerd  Store = "containerd"  // by blob digest, in any order
	StorePodman      Store = "podman"      // by diffID, in any order
)

// Engine is what a container engine says of itself.
type Engine struct {
	Name     string   `json:"name"` // "Docker Engine", "podman"
	Version  string   `json:"version"`
	API      string   `json:"api"`
	Store    Store    `json:"store"`
	Driver   string   `json:"driver"` // "overlay2", "overlayfs"
	Platform Platform `json:"platform"`
	Root     string   `json:"root"` // data folder
	// Content tells whether the engine lets its content store be listed and read.
	Content bool `json:"content"`
}

// String reads "Docker Engine 20.10.24 (graphdriver overlay2, linux/amd64)".
func (e Engine) String() string {
	return e.Name + " " + e.Version + " (" + string(e.Store) + " " + e.Driver + ", " + FormatPlatform(e.Platform) + ")"
}

// Space is the room on one file system. Free and Inodes are UnknownSize where they cannot be told.
type Space struct {
	Path   string `json:"path"`
	Device uint64 `json:"device"` // equal numbers share one file system
	Free   int64  `json:"free"`   // bytes that this user may still write
	Inodes int64  `json:"inodes"`
}

// Blob is one blob in a containerd content store.
type Blob struct {
	Digest Digest `json:"digest"`
	Size   int64  `json:"size"`
	// DiffID is the digest of the uncompressed layer where the store knows it, else empty.
	DiffID    Digest `json:"diffID,omitempty"`
	MediaType string `json:"mediaType,omitempty"`
}

// HostImage is one image that an engine has.
type HostImage struct {
	// ID is what the engine calls it: the config digest on a graphdriver store, the target's digest on a containerd store.
	ID string `json:"id"`
	// Config is the config digest; empty where it could not be learned.
	Config Digest `json:"config,omitempty"`
	// Manifest is the digest of the platform's manifest on a containerd store.
	Manifest Digest   `json:"manifest,omitempty"`
	DiffIDs  []Digest `json:"diffIDs,omitempty"`
	Refs     []string `json:"refs,omitempty"`
	// Missing lists blobs that the manifest names and the store has not: the image is broken.
	Missing []Digest `json:"missing,omitempty"`
}

// Staged is what the stage holds of one blob.
type Staged struct {
	Digest Digest `json:"digest"`
	// Size in bytes of the whole blob, UnknownSize when no chunk told it.
	Size int64 `json:"size"`
	// Chunks are the numbers of the chunks that are there and passed their check, ascending.
	Chunks []int `json:"chunks"`
}

// Container is one container that uses an image.
type Container struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Image string `json:"image"` // image ID
	State string `json:"state"` // "running", "exited", …
}

// Inventory is what a host told about itself, as far as the Query asked.
type Inventory struct {
	Agent  string    `json:"agent"` // version of the clara-push that answered
	Name   string    `json:"name"`  // the host's own name
	User   string    `json:"user"`  // whom the agent runs as
	Clock  time.Time `json:"clock"`
	Engine Engine    `json:"engine"`

	Images []HostImage `json:"images,omitempty"` // the images asked about: by ref or by config digest
	Chains []Digest    `json:"chains,omitempty"` // graphdriver: chain IDs that are there, of those asked about
	Blobs  []Blob      `json:"blobs,omitempty"`  // containerd: blobs that are there, of those asked about; podman: layers, Digest = DiffID
	Staged []Staged    `json:"staged,omitempty"`

	Stage Space `json:"stage"` // where chunks are kept
	Data  Space `json:"data"`  // the engine's data folder

	Repository *Repository `json:"repository,omitempty"` // nil when no models were asked about

	// Releases has the last loaded version of the application asked about, if any.
	Releases []Release `json:"releases,omitempty"`

	Users    []Container `json:"users,omitempty"`    // containers that use an image now bearing one of the asked refs
	Warnings []string    `json:"warnings,omitempty"` // for people
}

// Query says what an Inventory shall cover.
type Query struct {
	Refs    []string   `json:"refs,omitempty"`    // names whose images and containers matter
	Configs []Digest   `json:"configs,omitempty"` // config digests to look for among all images
	DiffIDs [][]Digest `json:"diffIDs,omitempty"` // one list an image: its layers, base first
	Blobs   []Digest   `json:"blobs,omitempty"`   // blob digests: content store and stage are asked for them
	All     bool       `json:"all,omitempty"`     // everything that is there

	Models *ModelQuery `json:"models,omitempty"`

	Application string `json:"application,omitempty"` // whose last loaded version matters
}

// Ask returns the query whose answer Diff needs to plan a.
func Ask(a Artifacts) Query {
	var q Query
	for _, i := range a.Images {
		q.Refs = append(q.Refs, i.Ref)
		q.Configs = append(q.Configs, i.Config.Digest)
		q.DiffIDs = append(q.DiffIDs, i.DiffIDs())
		q.Blobs = append(q.Blobs, i.Config.Digest)
		if i.Manifest.Digest != "" {
			q.Blobs = append(q.Blobs, i.Manifest.Digest)
		}
		for _, l := range i.Layers {
			q.Blobs = append(q.Blobs, l.Digest, l.DiffID)
		}
	}
	slices.Sort(q.Blobs)
	q.Blobs = slices.Compact(q.Blobs)
	q.Models = askModels(a.Models)
	if a.Provenance != nil {
		q.Application = a.Provenance.Application
	}
	return q
}

func askModels(models []Model) *ModelQuery {
	if len(models) == 0 {
		return nil
	}
	q := &ModelQuery{}
	for _, m := range models {
		q.Names = append(q.Names, m.Name)
		for _, f := range m.Files {
			q.Blobs = append(q.Blobs, f.Digest)
		}
	}
	slices.Sort(q.Blobs)
	q.Blobs = slices.Compact(q.Blobs)
	return q
}

// ByRef returns the image that bears ref now.
func (inv Inventory) ByRef(ref string) (HostImage, bool) {
	for _, i := range inv.Images {
		if slices.Contains(i.Refs, ref) {
			return i, true
		}
	}
	return HostImage{}, false
}

// ByConfig returns a whole image with this config digest.
func (inv Inventory) ByConfig(config Digest) (HostImage, bool) {
	for _, i := range inv.Images {
		if i.Config == config && len(i.Missing) == 0 {
			return i, true
		}
	}
	return HostImage{}, false
}
