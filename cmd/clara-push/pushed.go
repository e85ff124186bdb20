package main

import (
	"fmt"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// doneOf finds what the host says that it did with an image.
func (p pushed) doneOf(ref string) (manifest.Done, bool) {
	for _, d := range p.Receipt.Images {
		if d.Ref == ref {
			return d, true
		}
	}
	return manifest.Done{}, false
}

// unreceipted fails when the host's receipt lacks an image: nothing is called done that the host did not prove.
func unreceipted(p pushed) error {
	if len(p.Plan.Images) == 0 {
		return manifest.Fail(manifest.KindInternal, "push", "the plan has no image")
	}
	for _, i := range p.Plan.Images {
		if _, ok := p.doneOf(i.Image.Ref); !ok && i.Action != manifest.ActionNothing {
			return manifest.Fail(manifest.KindUnknown, "receipt", "the host did not say what became of %s", i.Image.Ref).
				Advise("run the same command again: it asks the host what it has")
		}
	}
	return nil
}

// doneLines says what a push did: a line an image, and for several images a line about them all.
func doneLines(host string, p pushed) []string {
	if len(p.Plan.Images) == 1 {
		return []string{doneLine(host, p.Plan.Images[0], p)}
	}
	var lines []string
	for _, i := range p.Plan.Images {
		lines = append(lines, imageLine(host, i))
	}
	if p.Plan.Nothing() {
		return lines
	}
	return append(lines, fmt.Sprintf("%s: done in %s, %s", host, formatDuration(p.took), traffic(p)))
}

// halfLines says which names a push had moved when it failed.
func halfLines(host string, p pushed) []string {
	var lines []string
	for _, d := range p.Receipt.Images {
		if d.Changed() {
			lines = append(lines, d.Ref+" → "+host+": named, before the push failed")
		}
	}
	return append(lines, receiptLines(host, p.Receipt)...)
}

// doneLine reads "app:1 → gpu01: done in 1.8 s, 20.4 kB sent, 1.25 GB spared (2 of 3 layers were there)".
func doneLine(host string, i manifest.ImagePlan, p pushed) string {
	if i.Action != manifest.ActionLoad {
		return imageLine(host, i)
	}
	return fmt.Sprintf("%s → %s: done in %s, %s%s", i.Image.Ref, host, formatDuration(p.took), traffic(p), layersThere(i))
}

func imageLine(host string, i manifest.ImagePlan) string {
	line := i.Image.Ref + " → " + host + ": "
	switch i.Action {
	case manifest.ActionNothing:
		return line + "nothing to do, the host has this image already"
	case manifest.ActionTag:
		return line + "named, the host had this image already"
	}
	return line + "loaded" + layersThere(i)
}

// traffic tells sent, spared and resumed bytes apart.
func traffic(p pushed) string {
	s := p.Plan.Sizes
	line, before := manifest.FormatBytes(p.wire)+" sent", "sent before"
	if p.here {
		line, before = manifest.FormatBytes(s.Send)+" read", "read before"
	}
	if s.Present > 0 {
		line += fmt.Sprintf(", %s spared", manifest.FormatBytes(s.Present))
	}
	if s.Staged > 0 {
		line += fmt.Sprintf(", %s had been %s", manifest.FormatBytes(s.Staged), before)
	}
	return line
}

func layersThere(i manifest.ImagePlan) string {
	there := present(i)
	if there == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d of %s were there)", there, count(len(i.Image.Layers), "layer"))
}

// present counts the layers that did not have to travel.
func present(i manifest.ImagePlan) int {
	if i.Action != manifest.ActionLoad {
		return len(i.Image.Layers)
	}
	n := 0
	for _, l := range i.Layers {
		if l.Present {
			n++
		}
	}
	return n
}

// pushWarnings collects what a person should hear beside the outcome.
func pushWarnings(host string, p pushed) []string {
	w := append([]string{}, p.Inventory.Warnings...)
	w = append(w, p.Receipt.Warnings...)
	for _, i := range p.Plan.Images {
		for _, left := range i.Image.LeftBehind {
			w = append(w, i.Image.Ref+": stays behind: "+left)
		}
	}
	for _, d := range p.Receipt.Images {
		if n := containerNames(d.Stale); len(n) > 0 {
			w = append(w, fmt.Sprintf("%s on %s still run the former image of %s: %s; start them anew to use the pushed one",
				count(len(n), "container"), host, d.Ref, strings.Join(n, ", ")))
		}
	}
	return w
}

func containerNames(cs []manifest.Container) []string {
	var names []string
	for _, c := range cs {
		name := c.Name
		if name == "" {
			name = c.ID
		}
		names = append(names, manifest.Plain(name))
	}
	return names
}

// addPush notes what is known of a push, finished or not.
func (s *summary) addPush(p pushed) {
	if len(p.Plan.Images) == 0 {
		return
	}
	sizes := p.Plan.Sizes
	s.Seconds = p.took.Seconds()
	s.Bytes = &byteSums{Wire: p.wire, Send: sizes.Send, Staged: sizes.Staged, Spared: sizes.Present, Unknown: sizes.Unknown}
	s.Space = &spaceSums{
		Stage:  roomSum{Need: sizes.Stage, Free: p.Inventory.Stage.Free, Path: manifest.Plain(p.Inventory.Stage.Path)},
		Engine: roomSum{Need: sizes.Engine, Free: p.Inventory.Data.Free, Path: manifest.Plain(p.Inventory.Data.Path)},
	}
	if p.Receipt.ID != "" {
		s.Receipt = &receiptSum{ID: manifest.Plain(p.Receipt.ID), Path: manifest.Plain(p.Receipt.Path)}
	}
	for _, i := range p.Plan.Images {
		s.Images = append(s.Images, sumImage(i, p))
	}
}

func sumImage(i manifest.ImagePlan, p pushed) imageSum {
	sum := imageSum{
		Ref: i.Image.Ref, Action: i.Action, Done: i.Action == manifest.ActionNothing,
		Origin: manifest.Plain(i.Image.Origin), Platform: manifest.FormatPlatform(i.Image.Platform),
		Config: i.Image.Config.Digest, Manifest: i.Manifest.Digest, Layers: len(i.Image.Layers), LayersPresent: present(i),
	}
	for _, l := range i.Image.LeftBehind {
		sum.LeftBehind = append(sum.LeftBehind, manifest.Plain(l))
	}
	d, ok := p.doneOf(i.Image.Ref)
	if !ok {
		return sum
	}
	sum.Done, sum.Before, sum.After = true, &d.Before, &d.After
	sum.Keeper, sum.StillRunning = manifest.Plain(d.Keeper), containerNames(d.Stale)
	for _, proof := range d.Proof {
		sum.Proof = append(sum.Proof, manifest.Plain(proof))
	}
	return sum
}

// count reads "1 layer", "3 layers".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
