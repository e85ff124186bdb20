package bundle

import (
	"github.com/clara-push/clara-push/pkg/manifest"
)

// Base is what a differential bundle builds on: what the site has already. Since and For make one.
type Base struct {
	// Digest is that of the other bundle's index.json, or of the inventory; Name says for people what that was.
	Digest manifest.Digest
	Name   string

	// Of another bundle: its layers, the chains that they make, the files of each of its models.
	blobs, chains map[manifest.Digest]bool
	files         map[string]map[manifest.Digest]bool
	// Of a host.
	inventory *manifest.Inventory
}

// Since builds on another bundle that names the artifacts a and was loaded at the site. A layer is left out only when that
// has it both as the same blob and over the same layers, so that either kind of store has it; a file of a model when the
// model of the same name has it.
func Since(a manifest.Artifacts, index manifest.Digest, name string) *Base {
	b := &Base{Digest: index, Name: name, blobs: map[manifest.Digest]bool{}, chains: map[manifest.Digest]bool{}, files: map[string]map[manifest.Digest]bool{}}
	for _, i := range a.Images {
		for n, chain := range manifest.ChainIDs(i.DiffIDs()) {
			b.blobs[i.Layers[n].Digest], b.chains[chain] = true, true
		}
	}
	for _, m := range a.Models {
		if b.files[m.Name] == nil {
			b.files[m.Name] = map[manifest.Digest]bool{}
		}
		for _, f := range m.Files {
			b.files[m.Name][f.Digest] = true
		}
	}
	return b
}

// travels names the layers and files of a that go into the bundle; nil means all of them. The configuration of a model always
// does: whoever loads the bundle must be able to tell which versions a server is to serve.
func (b *Base) travels(a manifest.Artifacts, anyPlatform bool) (map[manifest.Digest]bool, error) {
	if b == nil {
		return nil, nil
	}
	t := b.unlike(a)
	if b.inventory != nil {
		var err error
		if t, err = b.missing(a, anyPlatform); err != nil {
			return nil, err
		}
	}
	for _, m := range a.Models {
		for _, f := range m.Files {
			if f.Path == "config.pbtxt" {
				t[f.Digest] = true
			}
		}
	}
	return t, nil
}

// unlike names the layers and files of a that the other bundle has not.
func (b *Base) unlike(a manifest.Artifacts) map[manifest.Digest]bool {
	t := map[manifest.Digest]bool{}
	for _, i := range a.Images {
		for n, chain := range manifest.ChainIDs(i.DiffIDs()) {
			if l := i.Layers[n]; !b.blobs[l.Digest] || !b.chains[chain] {
				t[l.Digest] = true
			}
		}
	}
	for _, m := range a.Models {
		for _, f := range m.Files {
			if !b.files[m.Name][f.Digest] {
				t[f.Digest] = true
			}
		}
	}
	return t
}
