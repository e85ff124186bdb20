package main

import (
	"fmt"
	"slices"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// unloaded fails when the receipt lacks something that was to be loaded.
func unloaded(p pushed) error {
	if len(p.Plan.Images) > 0 {
		if err := unreceipted(p); err != nil {
			return err
		}
	}
	return unplaced(p)
}

// fromLine reads "from liver 1.2, signed by ops@vendor.example (SHA256:…)"; empty for what came in no bundle.
func fromLine(p *manifest.Provenance) string {
	if p == nil {
		return ""
	}
	line := release(p)
	if line == "" {
		line = "bundle " + string(p.Bundle)
	}
	if p.Signer != "" {
		return fmt.Sprintf("%s, signed by %s (%s)", line, p.Signer, p.Key)
	}
	return line + ", not signed"
}

// release reads "liver 1.2"; empty when nobody says.
func release(p *manifest.Provenance) string {
	switch {
	case p == nil || p.Application == "":
		return ""
	case p.Version == "":
		return p.Application
	}
	return p.Application + " " + p.Version
}

// loadPlanLines says what a load would do.
func loadPlanLines(host string, p pushed) []string {
	verb := "send"
	if p.here {
		verb = "read"
	}
	var lines []string
	if from := fromLine(p.Plan.Provenance); from != "" {
		lines = append(lines, from)
	}
	for _, i := range p.Plan.Images {
		lines = append(lines, i.Image.Ref+" → "+host, entry("action", planned(i, verb)))
	}
	for _, m := range p.Plan.Models {
		lines = append(lines, m.Model.Name+" → "+host, entry("step", stepText(m.Place, m.Entry, m.Gone)))
	}
	if !p.Plan.Nothing() {
		s := p.Plan.Sizes
		lines = append(lines, entry("to "+verb, manifest.FormatBytes(s.Send)), entry("spared", manifest.FormatBytes(s.Present)))
		if len(p.Plan.Images) > 0 {
			lines = append(lines, entry("engine", "needs "+manifest.FormatBytes(s.Engine)+", "+room(p.Inventory.Data)))
		}
		if repo := p.Inventory.Repository; repo != nil {
			lines = append(lines, entry("models", "need "+manifest.FormatBytes(s.Models)+", "+room(repo.Stage)))
		}
	}
	return append(lines, "dry run: nothing of this was loaded or changed")
}

// loadedLines says what a load did.
func loadedLines(host string, p pushed) []string {
	var lines []string
	for _, i := range p.Plan.Images {
		lines = append(lines, imageLine(host, i))
	}
	for _, m := range p.Plan.Models {
		lines = append(lines, placedLine(host, m))
	}
	if !p.Plan.Nothing() {
		lines = append(lines, fmt.Sprintf("%s: done in %s, %s", host, formatDuration(p.took), traffic(p)))
	}
	return append(lines, receiptLines(host, p.Receipt)...)
}

// receiptLines says where the receipt lies; nothing when none was written.
func receiptLines(host string, r manifest.Receipt) []string {
	if r.Path == "" {
		return nil
	}
	return []string{fmt.Sprintf("%s: receipt in %s", host, r.Path)}
}

// loadWarnings collects what a person should hear beside the outcome.
func loadWarnings(host string, p pushed) []string {
	w := pushWarnings(host, p)
	for _, m := range modelWarnings(p) {
		if !slices.Contains(w, m) {
			w = append(w, m)
		}
	}
	return w
}

// addLoad notes what is known of a load, finished or not.
func (s *summary) addLoad(p pushed) {
	s.addPush(p)
	space := s.Space
	s.addModels(p)
	if s.Bytes != nil {
		s.Bytes.Unknown = p.Plan.Sizes.Unknown
	}
	if space != nil && s.Space != nil {
		if len(p.Plan.Models) > 0 {
			space.Models = s.Space.Stage
		}
		s.Space = space
	}
	if from := p.Plan.Provenance; from != nil {
		s.From = plainFrom(from)
	}
}

// plainFrom makes a bundle's claims safe to print.
func plainFrom(from *manifest.Provenance) *manifest.Provenance {
	if from == nil {
		return nil
	}
	plain := *from
	for _, text := range []*string{&plain.Application, &plain.Version, &plain.Base, &plain.Signer, &plain.Key} {
		*text = manifest.Plain(*text)
	}
	return &plain
}
