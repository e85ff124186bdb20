package source

import (
	"encoding/json"
	"slices"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// legacy tells which layer an entry "<legacy ID>/layer.tar" of a docker save before 25 is, from the file "<legacy
// ID>/json" that stands before it. The entries come in the order of their IDs, which is no order of layers.
//
// The ID is the digest of that file with the layer's chain ID added and the ID itself left out (image/v1/imagev1.go,
// CreateID, and image/tarexport/save.go in moby), so trying each chain ID tells the position. Where an engine computes it
// in another way, the parent does: without one it is the base, and a known parent stands one below. Either is a guess
// that the layer's own hash confirms.
type legacy struct {
	diffIDs   []manifest.Digest
	chains    []manifest.Digest
	positions map[string]int
	computed  map[string]bool // positions that the ID itself tells
}

func newLegacy(diffIDs []manifest.Digest) *legacy {
	return &legacy{diffIDs: diffIDs, chains: manifest.ChainIDs(diffIDs), positions: map[string]int{}, computed: map[string]bool{}}
}

// learn reads the json file of the legacy image id.
func (l *legacy) learn(id string, raw []byte) {
	var image map[string]json.RawMessage
	var links struct{ Parent string }
	if json.Unmarshal(raw, &image) != nil || json.Unmarshal(raw, &links) != nil {
		return
	}
	if n := slices.IndexFunc(l.chains, func(chain manifest.Digest) bool {
		top := chain == l.chains[len(l.chains)-1]
		return legacyID(image, links.Parent, chain, top) == id
	}); n >= 0 {
		l.positions[id], l.computed[id] = n, true
		return
	}
	below, known := l.positions[links.Parent]
	switch {
	case links.Parent == "":
		l.positions[id] = 0
	case known:
		l.positions[id] = below + 1
	}
}

// diffID is the layer that id most likely is, empty when nothing speaks for one; sure when the ID itself tells.
func (l *legacy) diffID(id string) (d manifest.Digest, sure bool) {
	n, ok := l.positions[id]
	if !ok || n >= len(l.diffIDs) {
		return "", false
	}
	return l.diffIDs[n], l.computed[id]
}

// legacyID computes the ID that an image file would have for the layer with this chain ID. Only the top layer's carries
// the operating system when it is computed.
func legacyID(image map[string]json.RawMessage, parent string, chain manifest.Digest, top bool) string {
	fields := map[string]json.RawMessage{}
	for key, value := range image {
		if key == "id" || key == "parent" || (key == "os" && !top) {
			continue
		}
		fields[key] = value
	}
	fields["layer_id"] = quoted(string(chain))
	if parent != "" {
		fields["parent"] = quoted("sha256:" + parent)
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return ""
	}
	return digest.FromBytes(raw).Encoded()
}

func quoted(s string) json.RawMessage {
	raw, _ := json.Marshal(s) // a string always marshals
	return raw
}
