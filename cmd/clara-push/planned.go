package main

import (
	"fmt"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// planLines says what a push would do.
func planLines(host string, p pushed) []string {
	var lines []string
	for _, i := range p.Plan.Images {
		lines = append(lines, i.Image.Ref+" → "+host)
		if i.Image.Origin != "" {
			lines = append(lines, entry("from", i.Image.Origin))
		}
		lines = append(lines, entry("action", planned(i, "send")))
	}
	if !p.Plan.Nothing() {
		lines = append(lines, sizeLines(p.Plan.Sizes, p.Inventory)...)
	}
	return append(lines, "dry run: nothing of this was sent or changed")
}

func planned(i manifest.ImagePlan, verb string) string {
	switch i.Action {
	case manifest.ActionNothing:
		return "nothing, the host has this image already"
	case manifest.ActionTag:
		return "name only, the host has this image already"
	}
	there := present(i)
	return fmt.Sprintf("load, %d of %s to %s, %d there already", len(i.Image.Layers)-there, count(len(i.Image.Layers), "layer"), verb, there)
}

func sizeLines(s manifest.Sizes, inv manifest.Inventory) []string {
	lines := []string{
		entry("to send", manifest.FormatBytes(s.Send)+", less by what compression saves on the way"),
		entry("spared", manifest.FormatBytes(s.Present)),
	}
	if s.Staged > 0 {
		lines = append(lines, entry("sent before", manifest.FormatBytes(s.Staged)))
	}
	if s.Unknown > 0 {
		lines = append(lines, entry("not known", count(s.Unknown, "size")+": the local engine tells them only while it saves the image; estimated above"))
	}
	return append(lines,
		entry("stage", "needs "+manifest.FormatBytes(s.Stage)+", "+room(inv.Stage)),
		entry("engine", "needs "+manifest.FormatBytes(s.Engine)+", "+room(inv.Data)))
}

// room reads "12.0 GB free in /var/lib/docker".
func room(s manifest.Space) string {
	free := "free space not known"
	if s.Free != manifest.UnknownSize {
		free = manifest.FormatBytes(s.Free) + " free"
	}
	if s.Path != "" {
		free += " in " + s.Path
	}
	return free
}

// entry is one line of a report, its label padded.
func entry(label, text string) string { return fmt.Sprintf("  %-12s %s", label, text) }
