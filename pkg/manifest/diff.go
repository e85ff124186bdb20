package manifest

import (
	"slices"
	"strings"
)

// MaxLayers is the most layers that a graphdriver store takes (maxLayerDepth in moby's layer store).
const MaxLayers = 125

// Options steer Diff. The zero value keeps the source's manifest and refuses images for another platform.
type Options struct {
	// ReuseLayers composes a manifest from the layers that the host has in any compression, for fewest bytes; the manifest
	// digest then differs from the source's.
	ReuseLayers bool
	// AnyPlatform lets an image for another platform than the host's through.
	AnyPlatform bool
	// Keep is how many former images stay reachable for a rollback.
	Keep int
	// Exact removes version directories of a model that only the host has.
	Exact bool
	// MinVersion refuses a bundle of a lower version; empty lets every version through.
	MinVersion string
	// AllowDowngrade lets an older version of an application through than the one that was loaded last.
	AllowDowngrade bool
	// Absent are layers (by diffID) and blobs that the host's engine denied having, whatever its inventory says.
	Absent []Digest
}

// Diff decides what must happen for the host that inv describes to have a. It is a pure function. It fails with
// KindUsage for a foreign platform, KindEngine for an image the store cannot take, KindNotFound when the host lacks what
// the source leaves out, KindPolicy for an older release than the host has or o asks for, KindSpace when the room is known
// to be too small.
func Diff(a Artifacts, inv Inventory, o Options) (Plan, error) {
	if err := checkRelease(a.Provenance, inv.Releases, o); err != nil {
		return Plan{}, err
	}
	p := Plan{Store: inv.Engine.Store, Keep: o.Keep, Provenance: a.Provenance}
	have := newHoldings(inv, o.Absent)
	for _, img := range a.Images {
		ip, err := planImage(img, inv, have, o)
		if err != nil {
			return Plan{}, err
		}
		p.Images = append(p.Images, ip)
	}
	p.Blobs = blobsOf(p.Images, inv)
	p.Sizes = sizesOf(p)
	if err := planModels(&p, a.Models, inv.Repository, o); err != nil {
		return Plan{}, err
	}
	if err := checkLacking(a, p, inv, o); err != nil {
		return Plan{}, err
	}
	return p, checkSpace(p.Sizes, inv)
}

func planImage(img Image, inv Inventory, have *holdings, o Options) (ImagePlan, error) {
	if err := admissible(img, inv.Engine, o); err != nil {
		return ImagePlan{}, err
	}
	ip := ImagePlan{Image: img, Action: ActionLoad}
	keep := inv.Engine.Store == StoreContainerd && img.Manifest.Digest != "" && !o.ReuseLayers
	if keep {
		ip.Manifest = img.Manifest
	}
	former, named := inv.ByRef(img.Ref)
	if named {
		ip.Former = former.ID
	}
	same := func(h HostImage) bool {
		return h.Config == img.Config.Digest && slices.Equal(h.DiffIDs, img.DiffIDs()) &&
			len(h.Missing) == 0 && (!keep || h.Manifest == img.Manifest.Digest) && !slices.Contains(o.Absent, h.Config)
	}
	if named && same(former) {
		ip.Action = ActionNothing
		return ip, nil
	}
	if i := slices.IndexFunc(inv.Images, same); i >= 0 {
		ip.Action, ip.Existing = ActionTag, inv.Images[i].ID
		return ip, nil
	}
	ip.Layers = have.plan(img, keep)
	return ip, nil
}

func admissible(img Image, e Engine, o Options) error {
	step := "plan " + img.Ref
	if e.Store == StoreGraphdriver && len(img.Layers) > MaxLayers {
		return Fail(KindEngine, step, "the image has %d layers, the host's engine takes at most %d", len(img.Layers), MaxLayers).
			Advise("squash some layers, for example by a multi-stage build")
	}
	p := img.Platform
	foreign := p.OS != e.Platform.OS || p.Architecture != e.Platform.Architecture
	if foreign && !o.AnyPlatform && e.Platform.OS != "" && p.OS != "" {
		return Fail(KindUsage, step, "the image is for %s, the host is %s", FormatPlatform(p), FormatPlatform(e.Platform)).
			Advise("build it for the host, or push it all the same with --platform %s", FormatPlatform(p))
	}
	return nil
}

// holdings is what the host's engine has or will have once the images planned so far are loaded.
type holdings struct {
	store   Store
	chains  map[Digest]bool
	blobs   map[Digest]Blob   // by digest
	byDiff  map[Digest][]Blob // by diffID
	absent  map[Digest]bool
	inflate bool
}

func newHoldings(inv Inventory, absent []Digest) *holdings {
	h := &holdings{
		store: inv.Engine.Store, chains: map[Digest]bool{}, blobs: map[Digest]Blob{}, byDiff: map[Digest][]Blob{},
		absent: map[Digest]bool{}, inflate: inv.Engine.Store == StoreGraphdriver,
	}
	for _, d := range absent {
		h.absent[d] = true
	}
	for _, c := range inv.Chains {
		h.chains[c] = true
	}
	for _, b := range inv.Blobs {
		h.addBlob(b)
	}
	return h
}

func (h *holdings) addBlob(b Blob) {
	if h.absent[b.Digest] {
		return
	}
	h.blobs[b.Digest] = b
	if b.DiffID != "" && !h.absent[b.DiffID] {
		h.byDiff[b.DiffID] = append(h.byDiff[b.DiffID], b)
	}
}

func (h *holdings) plan(img Image, keep bool) []LayerPlan {
	if h.store == StoreGraphdriver {
		return h.byChain(img)
	}
	layers := make([]LayerPlan, len(img.Layers))
	for n, l := range img.Layers {
		layers[n] = LayerPlan{Layer: l}
		if b, ok := h.blob(l, keep); ok {
			layers[n] = LayerPlan{Layer: Layer{DiffID: l.DiffID, Descriptor: Descriptor{MediaType: b.MediaType, Digest: b.Digest, Size: b.Size}}, Present: true}
			if b.Digest == l.Digest && l.MediaType != "" {
				layers[n].MediaType = l.MediaType
			}
		}
		h.addBlob(Blob{Digest: l.Digest, Size: l.Size, DiffID: l.DiffID, MediaType: l.MediaType})
	}
	return layers
}

// blob finds what the host can use for l: the very blob, or when the manifest is ours to compose, any blob of the same
// content whose compression is known.
func (h *holdings) blob(l Layer, keep bool) (Blob, bool) {
	if b, ok := h.blobs[l.Digest]; ok {
		return b, true
	}
	if keep {
		return Blob{}, false
	}
	for _, b := range h.byDiff[l.DiffID] {
		if b.MediaType != "" || b.Digest == b.DiffID {
			return b, true
		}
	}
	return Blob{}, false
}

// byChain plans for a store that knows a layer only together with everything below it.
func (h *holdings) byChain(img Image) []LayerPlan {
	layers := make([]LayerPlan, len(img.Layers))
	present := true
	for n, chain := range ChainIDs(img.DiffIDs()) {
		l := img.Layers[n]
		present = present && h.chains[chain] && !h.absent[l.DiffID] && !h.absent[l.Digest]
		layers[n] = LayerPlan{Layer: l, Present: present, Inflate: !present && strings.HasSuffix(l.MediaType, "zstd")}
		h.chains[chain] = true
	}
	return layers
}
