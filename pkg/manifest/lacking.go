package manifest

import (
	"fmt"
	"strings"
)

// listed is how many names an error lists.
const listed = 5

// checkLacking fails with KindNotFound when p would have to send what the source leaves out, and says for each image and
// model what that is.
func checkLacking(a Artifacts, p Plan, inv Inventory, o Options) error {
	needed := neededOf(p, a.Lacking)
	if len(needed) == 0 {
		return nil
	}
	var who []string
	elsewhere := true // every missing layer is on the host in another compression
	have := newHoldings(inv, o.Absent)
	for _, i := range p.Images {
		var layers []string
		for _, l := range i.Layers {
			if l.Present || !needed[l.Digest] {
				continue
			}
			layers = append(layers, string(l.Digest))
			_, ok := have.blob(l.Layer, false)
			elsewhere = elsewhere && ok && inv.Engine.Store == StoreContainerd
		}
		who = append(who, lacks(i.Image.Ref, "layer", layers)...)
		if needed[i.Image.Config.Digest] || needed[i.Manifest.Digest] {
			who, elsewhere = append(who, i.Image.Ref+" lacks its configuration or manifest"), false
		}
	}
	for _, m := range p.Models {
		var files []string
		for _, f := range m.Sent() {
			if m.Place != PlaceNothing && needed[f.Digest] {
				files, elsewhere = append(files, Plain(f.Path)), false
			}
		}
		who = append(who, lacks("model "+m.Model.Name, "file", files)...)
	}
	return lackFailure(a.Provenance, strings.Join(who, "; "), elsewhere)
}

// neededOf lists those of lacking that p would have to send.
func neededOf(p Plan, lacking []Digest) map[Digest]bool {
	left := map[Digest]bool{}
	for _, d := range lacking {
		left[d] = true
	}
	needed := map[Digest]bool{}
	for _, blobs := range [][]BlobPlan{p.Blobs, p.Files} {
		for _, b := range blobs {
			if left[b.Digest] && len(b.Staged) < max(1, Chunks(b.Size)) {
				needed[b.Digest] = true
			}
		}
	}
	return needed
}

// lacks reads "app:1 lacks 2 layers (sha256:…, sha256:…)"; nothing when names is empty.
func lacks(who, what string, names []string) []string {
	if len(names) == 0 {
		return nil
	}
	if len(names) > 1 {
		what += "s"
	}
	return []string{fmt.Sprintf("%s lacks %d %s (%s)", who, len(names), what, listOf(names))}
}

// listOf writes out names, the first ones of many.
func listOf(names []string) string {
	text := strings.Join(names[:min(listed, len(names))], ", ")
	if more := len(names) - listed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func lackFailure(from *Provenance, who string, elsewhere bool) error {
	base := ""
	if from != nil {
		base = Plain(from.Base)
	}
	f := Fail(KindNotFound, "find base", "the host does not have what is left out here: %s", who)
	if base != "" {
		f = Fail(KindNotFound, "find base", "this builds on %s, and the host does not have all of that: %s", base, who)
	}
	if elsewhere {
		return f.Advise("the host has these layers in another compression: --reuse-layers uses them; the manifest's digest then changes")
	}
	return f.Advise("load what this was made against first, or a bundle that leaves nothing out")
}
