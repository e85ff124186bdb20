package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/clara-push/clara-push/pkg/bundle"
	"github.com/clara-push/clara-push/pkg/bundle/signature"
	"github.com/clara-push/clara-push/pkg/manifest"
)

func newInspect(r *report) *cobra.Command {
	c := &cobra.Command{
		Use:   "inspect BUNDLE",
		Short: "Tell what is in a bundle",
		Long: `Tell what is in a bundle: images and models with their sizes, what it is a release of, what it builds on, and which key its signature
names. BUNDLE is a file, a folder, or parts: any of them, their list, the name that they were cut from, or the folder that they are in.

Nothing is loaded. What the bundle says of itself is shown as it says it: whether it is signed by somebody who may, and whether all
bytes are right, clara-push verify tells.`,
		Example: `  clara-push inspect release-1.2.tar
  clara-push inspect --verbose /media/stick
  clara-push inspect --json --quiet release-1.2.tar.parts.json`,
		Args: oneBundle,
		RunE: func(c *cobra.Command, args []string) error { return runInspect(c.Context(), args[0], r) },
	}
	addSections(c, r.section())
	return c
}

// oneBundle is met by anything but one word.
func oneBundle(c *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return manifest.Fail(manifest.KindUsage, "", "which bundle?").Advise("clara-push %s", c.Use)
	case 1:
		if args[0] == stdin {
			return manifest.Fail(manifest.KindUsage, "", "a bundle on standard input can only be loaded").Advise("write it to a file first, and name that")
		}
		return nil
	}
	return manifest.Fail(manifest.KindUsage, "", "one bundle only, %d words are given", len(args)).
		Advise("of a bundle in parts, any one of them means all: clara-push %s", c.Use)
}

func runInspect(ctx context.Context, path string, r *report) error {
	b, err := bundle.Open(ctx, path, bundle.OpenOptions{Events: r.event})
	if err != nil {
		return err
	}
	defer b.Close()
	s := inspected{Contents: b.Contents()}
	if sig := b.Signature(); sig != nil {
		s.Signature = &claimedSum{}
		if s.Signature.Key, s.Signature.words, err = signature.Claimed(sig); err != nil {
			s.Signature.words = "cannot be read"
		}
	}
	r.summary.Contents = &s
	r.result(s.lines(path, r.verbose))
	r.warnings(s.Warnings...)
	return nil
}

// inspected is what a bundle says of itself.
type inspected struct {
	bundle.Contents
	Signature *claimedSum `json:"signature,omitempty"` // nil without one
}

// claimedSum is a signature that nobody has checked.
type claimedSum struct {
	Key     string `json:"key,omitempty"` // fingerprint that it names; empty when it cannot be read
	Checked bool   `json:"checked"`       // always false
	words   string
}

// lines says what is in it; with all of them, layer by layer and file by file.
func (s inspected) lines(path string, all bool) []string {
	lines := []string{fmt.Sprintf("%s: %s, %s", path, s.words(), manifest.FormatBytes(s.Size))}
	if release := strings.TrimSpace(s.Application + " " + s.Version); release != "" {
		lines = append(lines, entry("release", release))
	}
	if made := s.made(); made != "" {
		lines = append(lines, entry("made", made))
	}
	lines = append(lines, entry("index", string(s.Digest)), entry("signature", s.signed()))
	if s.Base != "" {
		lines = append(lines,
			entry("builds on", s.base()),
			entry("left out", fmt.Sprintf("%s, %s: only for hosts that have them", count(s.Lacking, "blob"), manifest.FormatBytes(s.LackingSize))))
	}
	for _, i := range s.Images {
		lines = append(lines, imageLines(i, all)...)
	}
	for _, m := range s.Models {
		lines = append(lines, modelLines(m, all)...)
	}
	return lines
}

// words reads "a tar of 2 images and 1 model".
func (s inspected) words() string {
	var what []string
	if n := len(s.Images); n > 0 {
		what = append(what, count(n, "image"))
	}
	if n := len(s.Models); n > 0 {
		what = append(what, count(n, "model"))
	}
	form := map[bundle.Form]string{bundle.FormTar: "a tar", bundle.FormFolder: "a folder", bundle.FormParts: "parts"}[s.Form]
	return form + " of " + strings.Join(what, " and ")
}

// made reads "2026-11-22 14:05:01 UTC with clara-push 1.2".
func (s inspected) made() string {
	made := ""
	if !s.Created.IsZero() {
		made = clock(s.Created)
	}
	if s.Tool != "" {
		made += " with " + s.Tool
	}
	return strings.TrimSpace(made)
}

func (s inspected) signed() string {
	switch {
	case s.Signature == nil:
		return "none"
	case s.Signature.Key == "":
		return "there is one, which cannot be read"
	}
	return "names the key " + s.Signature.words + "; not checked, clara-push verify does that"
}

func imageLines(i bundle.ImageContents, all bool) []string {
	text := fmt.Sprintf("%s, %s, %s, %s", i.Ref, i.Platform, count(len(i.Layers), "layer"), manifest.FormatBytes(i.Size))
	if i.Unpacked > i.Size {
		text += ", unpacked " + manifest.FormatBytes(i.Unpacked)
	}
	lines := []string{entry("image", text)}
	if !all {
		return lines
	}
	lines = append(lines, entry("", "config "+string(i.Config)), entry("", "manifest "+string(i.Manifest)))
	for _, l := range i.Layers {
		lines = append(lines, entry("", item("layer "+string(l.Digest), l.Size, l.Lacking)))
	}
	return lines
}

func modelLines(m bundle.ModelContents, all bool) []string {
	text := fmt.Sprintf("%s, %s, %s", m.Name, count(len(m.Files), "file"), manifest.FormatBytes(m.Size))
	if len(m.After) > 0 {
		text += ", placed after " + strings.Join(m.After, ", ")
	}
	lines := []string{entry("model", text)}
	if !all {
		return lines
	}
	for _, f := range m.Files {
		lines = append(lines, entry("", item(f.Path, f.Size, f.Lacking)))
	}
	return lines
}

// item reads "1/model.onnx, 3.00 kB, left out".
func item(what string, size int64, lacking bool) string {
	line := what + ", " + manifest.FormatBytes(size)
	if lacking {
		line += ", left out"
	}
	return line
}

// base reads "release-1.tar, sha256:…", or the digest alone.
func (s inspected) base() string {
	if s.BaseName == "" {
		return string(s.Base)
	}
	return s.BaseName + ", " + string(s.Base)
}

// clock is how times are written for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
