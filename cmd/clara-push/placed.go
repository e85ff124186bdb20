package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// unplaced fails when the host's receipt lacks a model that was to be placed.
func unplaced(p pushed) error {
	for _, m := range p.Plan.Models {
		_, ok := p.doneModel(m.Model.Name)
		if !ok && m.Place != manifest.PlaceNothing {
			return manifest.Fail(manifest.KindUnknown, "receipt", "the host did not say what became of model %s", m.Model.Name).
				Advise("run the same command again: it asks the host what it has")
		}
	}
	return nil
}

func (p pushed) doneModel(name string) (manifest.DoneModel, bool) {
	i := slices.IndexFunc(p.Receipt.Models, func(d manifest.DoneModel) bool { return d.Name == name })
	if i < 0 {
		return manifest.DoneModel{}, false
	}
	return p.Receipt.Models[i], true
}

// modelPlanLines says what a push of models would do.
func modelPlanLines(host string, p pushed) []string {
	var lines []string
	for _, m := range p.Plan.Models {
		lines = append(lines, m.Model.Name+" → "+host, entry("from", m.Model.Origin), entry("step", stepText(m.Place, m.Entry, m.Gone)))
		if len(m.Kept) > 0 {
			lines = append(lines, entry("kept", "version "+strings.Join(m.Kept, ", ")+" that only the host has"))
		}
	}
	if repo := p.Inventory.Repository; repo != nil && !p.Plan.Nothing() {
		s := p.Plan.Sizes
		lines = append(lines,
			entry("to send", fmt.Sprintf("%s, less by what compression saves on the way", modelBytes(p))),
			entry("spared", manifest.FormatBytes(s.Present)))
		if s.Staged > 0 {
			lines = append(lines, entry("sent before", manifest.FormatBytes(s.Staged)))
		}
		lines = append(lines, entry("stage", "needs "+manifest.FormatBytes(s.Models)+", "+room(repo.Stage)))
	}
	return append(lines, "dry run: nothing of this was sent or changed")
}

func modelBytes(p pushed) string {
	return count(len(p.Plan.Files), "file") + ", " + manifest.FormatBytes(p.Plan.Sizes.Send)
}

// stepText says by which step a model changes.
func stepText(p manifest.Placement, entry string, gone bool) string {
	switch {
	case p == manifest.PlaceNothing:
		return "nothing to do, the host has this model already"
	case p == manifest.PlaceCreate:
		return "new model"
	case p == manifest.PlaceModel:
		return "whole model exchanged"
	case p == manifest.PlaceVersion && gone:
		return "version " + entry + " removed"
	case p == manifest.PlaceVersion:
		return "version " + entry + " placed"
	case gone:
		return entry + " removed"
	}
	return entry + " placed"
}

// modelDoneLines says what a push of models did.
func modelDoneLines(host string, p pushed) []string {
	var lines []string
	for _, m := range p.Plan.Models {
		lines = append(lines, placedLine(host, m))
	}
	if p.Plan.Nothing() {
		return lines
	}
	return append(lines, fmt.Sprintf("%s: done in %s, %s", host, formatDuration(p.took), traffic(p)))
}

func placedLine(host string, m manifest.ModelPlan) string {
	line := m.Model.Name + " → " + host + ": " + stepText(m.Place, m.Entry, m.Gone)
	if len(m.Kept) > 0 {
		line += fmt.Sprintf(" (version %s, which only the host has, kept)", strings.Join(m.Kept, ", "))
	}
	return line
}

// modelWarnings collects what a person should hear beside the outcome.
func modelWarnings(p pushed) []string {
	w := slices.Concat(p.Inventory.Warnings, p.Receipt.Warnings)
	if repo := p.Inventory.Repository; repo != nil {
		w = append(w, repo.Mended...)
	}
	for _, m := range p.Plan.Models {
		w = append(w, m.Warnings...)
	}
	return w
}

// modelSum is one model of a summary.
type modelSum struct {
	Name   string             `json:"name"`
	Place  manifest.Placement `json:"place"`
	Entry  string             `json:"entry,omitempty"`
	Gone   bool               `json:"gone,omitempty"`
	Done   bool               `json:"done"`
	Origin string             `json:"origin,omitempty"`
	Path   string             `json:"path,omitempty"`
	Kept   []string           `json:"kept,omitempty"`
	Files  int                `json:"files"`
	Size   int64              `json:"size"`
}

// addModels notes what is known of a push of models, finished or not.
func (s *summary) addModels(p pushed) {
	if len(p.Plan.Models) == 0 {
		return
	}
	sizes := p.Plan.Sizes
	s.Seconds = p.took.Seconds()
	s.Bytes = &byteSums{Wire: p.wire, Send: sizes.Send, Staged: sizes.Staged, Spared: sizes.Present}
	if repo := p.Inventory.Repository; repo != nil {
		s.Space = &spaceSums{Stage: roomSum{Need: sizes.Models, Free: repo.Stage.Free, Path: manifest.Plain(repo.Stage.Path)}}
	}
	s.addReceipt(p.Receipt)
	for _, m := range p.Plan.Models {
		sum := modelSum{
			Name: m.Model.Name, Place: m.Place, Entry: m.Entry, Gone: m.Gone, Origin: manifest.Plain(m.Model.Origin),
			Kept: m.Kept, Files: len(m.Model.Files), Size: m.Model.Size(), Done: m.Place == manifest.PlaceNothing,
		}
		if d, ok := p.doneModel(m.Model.Name); ok {
			sum.Done, sum.Path = true, manifest.Plain(d.Path)
		}
		s.Models = append(s.Models, sum)
	}
}

func sumDone(d manifest.DoneModel) modelSum {
	return modelSum{Name: manifest.Plain(d.Name), Place: d.Place, Entry: manifest.Plain(d.Entry), Gone: d.Gone, Path: manifest.Plain(d.Path), Done: true}
}

func (s *summary) addReceipt(r manifest.Receipt) {
	if r.ID != "" {
		s.Receipt = &receiptSum{ID: manifest.Plain(r.ID), Path: manifest.Plain(r.Path)}
	}
}
