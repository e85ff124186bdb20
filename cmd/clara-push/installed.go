package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// drifted fails when something is not as its receipt says.
func drifted(s manifest.Status) error {
	n := 0
	for _, i := range s.Images {
		if i.Drift != manifest.DriftNone {
			n++
		}
	}
	for _, m := range s.Models {
		if m.Drift != manifest.DriftNone {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return manifest.Fail(manifest.KindDrift, "status", "%d of %d things are not as they were placed", n, len(s.Images)+len(s.Models)).
		Advise("push or load again to have them as they were, or go back with clara-push rollback")
}

// statusLines says what is installed.
func statusLines(host string, s manifest.Status) []string {
	if len(s.Images)+len(s.Models) == 0 {
		return []string{host + ": nothing that clara-push placed" + byReceipts(s.State)}
	}
	lines := []string{fmt.Sprintf("%s: %s, %s", host, count(len(s.Images), "image"), count(len(s.Models), "model"))}
	for _, i := range s.Images {
		lines = append(lines, entry("image", i.Ref+": "+imageDrift(i)), entry("", origin(i.From, i.Since, i.Receipt)))
	}
	for _, m := range s.Models {
		lines = append(lines, entry("model", m.Name+": "+modelDrift(m)), entry("", origin(m.From, m.Since, m.Receipt)))
	}
	return lines
}

// byReceipts says where was looked; another user's receipts lie elsewhere.
func byReceipts(state string) string {
	if state == "" {
		return ""
	}
	return ", by the receipts in " + state
}

// origin reads "liver 1.2, signed by ops, 2026-11-22 15:05, receipt 20261122T140501Z-1f2e3d4c".
func origin(from *manifest.Provenance, since time.Time, receipt string) string {
	var parts []string
	if r := release(from); r != "" {
		parts = append(parts, r)
	}
	if from != nil && from.Signer != "" {
		parts = append(parts, "signed by "+from.Signer)
	}
	return strings.Join(append(parts, since.Local().Format("2006-01-02 15:04"), "receipt "+receipt), ", ")
}

func imageDrift(i manifest.InstalledImage) string {
	switch i.Drift {
	case manifest.DriftNone:
		return standing(i.Foreign) + wayBack(i.Back)
	case manifest.DriftGone:
		return "GONE, nothing bears the name"
	case manifest.DriftMoved:
		return fmt.Sprintf("MOVED, it points at %s, %s %s", i.Now.ID, meant(i.Foreign), i.Placed.ID)
	case manifest.DriftBroken:
		return "BROKEN, the engine has it only in part"
	}
	return string(i.Drift)
}

func modelDrift(m manifest.InstalledModel) string {
	switch m.Drift {
	case manifest.DriftNone:
		return standing(m.Foreign) + " in " + m.Repository + wayBack(m.Back)
	case manifest.DriftGone:
		return "GONE, it is not in " + m.Repository
	}
	text := "CHANGED"
	if len(m.Changed) > 0 {
		const shown = 5
		text += ": " + strings.Join(m.Changed[:min(shown, len(m.Changed))], ", ")
		if len(m.Changed) > shown {
			text += ", …"
		}
	}
	return text
}

// standing says what something is that nobody has changed.
func standing(foreign bool) string {
	if foreign {
		return "as it was before clara-push, put back by a rollback"
	}
	return "as placed"
}

// meant begins to say what should be there.
func meant(foreign bool) string {
	if foreign {
		return "put back was"
	}
	return "placed was"
}

func wayBack(back bool) string {
	if back {
		return ", a former one is kept"
	}
	return ""
}

// plainStatus makes what a host told safe to print.
func plainStatus(s manifest.Status) manifest.Status {
	s.Host, s.State, s.Warnings = manifest.Plain(s.Host), manifest.Plain(s.State), plains(s.Warnings)
	s.Images, s.Models = slices.Clone(s.Images), slices.Clone(s.Models)
	for n := range s.Images {
		i := &s.Images[n]
		i.Ref, i.Receipt, i.From = manifest.Plain(i.Ref), manifest.Plain(i.Receipt), plainFrom(i.From)
		i.Placed, i.Now = plainState(i.Placed), plainState(i.Now)
	}
	for n := range s.Models {
		m := &s.Models[n]
		m.Name, m.Repository, m.Receipt, m.From = manifest.Plain(m.Name), manifest.Plain(m.Repository), manifest.Plain(m.Receipt), plainFrom(m.From)
		m.Changed = plains(m.Changed)
	}
	for n, r := range s.Releases {
		s.Releases[n].Application, s.Releases[n].Version, s.Releases[n].Receipt = manifest.Plain(r.Application), manifest.Plain(r.Version), manifest.Plain(r.Receipt)
	}
	return s
}

func plainState(s manifest.State) manifest.State {
	s.ID = manifest.Plain(s.ID)
	return s
}

func plains(texts []string) []string {
	var all []string
	for _, t := range texts {
		all = append(all, manifest.Plain(t))
	}
	return all
}
