package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/clara-push/clara-push/pkg/bundle"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// bundleSum is the bundle of a summary.
type bundleSum struct {
	Paths    []string        `json:"paths,omitempty"`
	Size     int64           `json:"size"`
	Index    manifest.Digest `json:"index"`
	Signed   bool            `json:"signed"`
	Signer   string          `json:"signer,omitempty"`
	Checked  bool            `json:"checked"` // read back from the medium
	Base     manifest.Digest `json:"base,omitempty"`
	BaseName string          `json:"baseName,omitempty"`
	LeftOut  *leftOutSum     `json:"leftOut,omitempty"`
	Binary   string          `json:"binary,omitempty"`

	Images []bundledImage `json:"images,omitempty"`
	Models []bundledModel `json:"models,omitempty"`
}

type leftOutSum struct {
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
}

type bundledImage struct {
	Ref        string          `json:"ref"`
	Platform   string          `json:"platform,omitempty"`
	Origin     string          `json:"origin,omitempty"`
	Config     manifest.Digest `json:"config"`
	Manifest   manifest.Digest `json:"manifest"`
	Composed   bool            `json:"composed"`
	Former     manifest.Digest `json:"former,omitempty"`
	Layers     int             `json:"layers"`
	LeftBehind []string        `json:"leftBehind,omitempty"`
}

type bundledModel struct {
	Name     string          `json:"name"`
	Origin   string          `json:"origin,omitempty"`
	Manifest manifest.Digest `json:"manifest"`
	Files    int             `json:"files"`
	Size     int64           `json:"size"`
}

// leftOut sums up what a differential bundle does not have.
func (b bundled) leftOut() leftOutSum {
	var s leftOutSum
	for _, d := range b.LeftOut {
		s.Blobs++
		s.Bytes += d.Size
	}
	return s
}

// addBundle notes what is known of a bundle, written or not.
func (s *summary) addBundle(b bundled) {
	if b.Index == "" {
		return
	}
	s.Seconds = b.took.Seconds()
	sum := bundleSum{Paths: b.Paths, Size: b.Size, Index: b.Index, Signed: b.Signed, Signer: b.signer, Checked: b.Checked, Binary: b.binary}
	if b.base != nil {
		left := b.leftOut()
		sum.Base, sum.BaseName, sum.LeftOut = b.base.Digest, b.base.Name, &left
	}
	for _, i := range b.Images {
		sum.Images = append(sum.Images, sumBundledImage(i))
	}
	for _, m := range b.Models {
		sum.Models = append(sum.Models, bundledModel{
			Name: m.Name, Origin: manifest.Plain(m.Origin), Manifest: m.Manifest, Files: len(m.Files), Size: m.Model.Size(),
		})
	}
	s.Bundle = &sum
}

func sumBundledImage(i bundle.WrittenImage) bundledImage {
	sum := bundledImage{
		Ref: i.Ref, Platform: manifest.FormatPlatform(i.Platform), Origin: manifest.Plain(i.Origin), Config: i.Config.Digest,
		Manifest: i.Manifest.Digest, Composed: i.Composed, Former: i.Former, Layers: len(i.Layers),
	}
	for _, l := range i.LeftBehind {
		sum.LeftBehind = append(sum.LeftBehind, manifest.Plain(l))
	}
	return sum
}

// warnings collects what a person should hear beside the outcome.
func (b bundled) warnings() []string {
	w := slices.Clone(b.Warnings)
	for _, i := range b.Images {
		for _, left := range i.LeftBehind {
			w = append(w, i.Ref+": stays behind: "+left)
		}
	}
	return w
}

// planLines says what a bundle would be.
func (b bundled) planLines(to string) []string {
	lines := []string{to}
	for _, i := range b.Images {
		lines = append(lines, entry("image", fmt.Sprintf("%s, %s, %s, from %s", i.Ref, manifest.FormatPlatform(i.Platform), count(len(i.Layers), "layer"), i.Origin)))
	}
	for _, m := range b.Models {
		lines = append(lines, entry("model", fmt.Sprintf("%s, %s, %s, from %s", m.Name, count(len(m.Files), "file"), manifest.FormatBytes(m.Model.Size()), m.Origin)))
	}
	lines = append(lines, entry("size", manifest.FormatBytes(b.Size)))
	if left := b.leftOutLine(); left != "" {
		lines = append(lines, entry("left out", left))
	}
	return append(lines, "dry run: nothing was written")
}

// leftOutLine reads "12 blobs, 1.25 GB, which release-1.tar has"; empty for a full bundle.
func (b bundled) leftOutLine() string {
	if b.base == nil {
		return ""
	}
	left := b.leftOut()
	return fmt.Sprintf("%s, %s, which %s has", count(left.Blobs, "blob"), manifest.FormatBytes(left.Bytes), b.base.Name)
}

// doneLines says what was written.
func (b bundled) doneLines(to string) []string {
	line := fmt.Sprintf("%s: %s, %s", to, contents(b.Written), manifest.FormatBytes(b.Size))
	if n := len(b.Paths); n > 1 {
		line += fmt.Sprintf(" in %s", count(n-1, "part"))
	}
	line += ", done in " + formatDuration(b.took)
	if b.Checked {
		line += ", read back and right"
	}
	lines := []string{line}
	if left := b.leftOutLine(); left != "" {
		lines = append(lines, entry("left out", left))
	}
	lines = append(lines, entry("index", string(b.Index)))
	if b.Signed {
		lines = append(lines, entry("signed", "with "+b.signer))
	}
	if b.binary != "" {
		lines = append(lines, entry("program", filepath.Base(b.binary)+" lies beside it"))
	}
	return lines
}

// contents reads "2 images and 1 model".
func contents(w bundle.Written) string {
	images, models := count(len(w.Images), "image"), count(len(w.Models), "model")
	switch {
	case len(w.Models) == 0:
		return images
	case len(w.Images) == 0:
		return models
	}
	return images + " and " + models
}
