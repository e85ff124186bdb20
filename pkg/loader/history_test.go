//go:build linux

package loader

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// receiptsOf writes receipts, oldest first, and reads their history. A receipt is written as words: "push", "rollback" or
// "remove", then "ref=after" for each image ("ref=" takes the name away, "ref==x" changes nothing) and "of=application:version".
func receiptsOf(t *testing.T, lines ...string) *history {
	t.Helper()
	h := &Host{dir: t.TempDir()}
	now := map[string]string{}
	for n, line := range lines {
		words := strings.Fields(line)
		r := manifest.Receipt{ID: fmt.Sprintf("2026112%dT140501Z-00000000", n), Act: map[string]manifest.Act{
			"push": manifest.ActPush, "rollback": manifest.ActRollback, "remove": manifest.ActRemove,
		}[words[0]]}
		for _, w := range words[1:] {
			ref, after, _ := strings.Cut(w, "=")
			if ref == "of" {
				application, version, _ := strings.Cut(after, ":")
				r.Provenance = &manifest.Provenance{Application: application, Version: version}
				continue
			}
			after, undoes, _ := strings.Cut(after, "/")
			after = strings.TrimPrefix(after, "=")
			d := manifest.Done{Ref: ref, Before: manifest.State{ID: now[ref]}, After: manifest.State{ID: after}}
			if undoes != "" {
				d.Undoes = fmt.Sprintf("2026112%sT140501Z-00000000", undoes)
			}
			now[ref] = after
			r.Images = append(r.Images, d)
		}
		h.record(&r)
	}
	past, err := h.history()
	if err != nil {
		t.Fatal(err)
	}
	return past
}

func TestHistory(t *testing.T) {
	for _, tt := range []struct {
		name     string
		receipts []string
		back     string // what a rollback would take back: receipt and names
		releases string
		now      string // what names are set to
	}{
		{name: "nothing"},
		{name: "pushes", receipts: []string{"push a=1 b=1", "push a=2"}, back: "1 a", now: "a=2 b=1"},
		{name: "rolled back", receipts: []string{"push a=1 b=1", "push a=2", "rollback a=1/1"}, back: "0 a b", now: "a=1 b=1"},
		{name: "twice", receipts: []string{"push a=1", "push a=2", "rollback a=1/1", "rollback a=/0"}, back: "", now: ""},
		{name: "in part", receipts: []string{"push a=1 b=1", "push a=2 b=2", "rollback a=1/1"}, back: "1 b", now: "a=1 b=2"},
		{name: "pushed again", receipts: []string{"push a=1", "push a=2", "rollback a=1/1", "push a=2"}, back: "3 a", now: "a=2"},
		{name: "nothing done", receipts: []string{"push a=1", "push a==1"}, back: "0 a", now: "a=1"},
		{name: "removed", receipts: []string{"push a=1 b=1", "push a=2", "remove a="}, back: "0 b", now: "b=1"},
		{name: "loads", receipts: []string{"push a=1 of=liver:1.0", "push a=2 of=liver:1.1", "push b=1 of=lung:3"}, back: "2 b", releases: "lung 3, liver 1.1", now: "a=2 b=1"},
		{name: "load rolled back", receipts: []string{"push a=1 of=liver:1.0", "push a=2 of=liver:1.1", "rollback a=1/1"}, back: "0 a", releases: "liver 1.0", now: "a=1"},
		{name: "load rolled back in part", receipts: []string{"push a=1 of=liver:1.0", "push a=2 b=2 of=liver:1.1", "rollback a=1/1"}, back: "1 b", releases: "liver 1.1", now: "a=1 b=2"},
		{name: "load removed", receipts: []string{"push a=1 of=liver:1.0", "remove a="}, releases: "liver 1.0"},
		{name: "removed in part, then rolled back", receipts: []string{"push a=1 b=1 of=liver:1.0", "push a=2 b=2 of=liver:1.1", "remove a=", "rollback b=1/1"}, back: "0 b", releases: "liver 1.0", now: "b=1"},
		{name: "downgrade", receipts: []string{"push a=2 of=liver:2", "push a=1 of=liver:1"}, back: "1 a", releases: "liver 1", now: "a=1"},
		{name: "load of what was there", receipts: []string{"push a=1 of=liver:1.0", "push a==1 of=liver:1.1"}, back: "1 a", releases: "liver 1.1", now: "a=1"},
		{name: "that load rolled back", receipts: []string{"push a=1 of=liver:1.0", "push a==1 of=liver:1.1", "rollback a==1/1"}, back: "0 a", releases: "liver 1.0", now: "a=1"},
		{name: "that load rolled back, and the one before", receipts: []string{"push a=1 of=liver:1.0", "push a==1 of=liver:1.1", "rollback a==1/1", "rollback a=/0"}},
		{name: "that load under another push", receipts: []string{"push a=1 b=1 of=liver:1.0", "push a==1 b==1 of=liver:1.1", "push a=2", "rollback a=1/2"}, back: "1 a b", releases: "liver 1.1", now: "a=1 b=1"},
		{name: "load of what was there, then removed", receipts: []string{"push a=1 of=liver:1.0", "push a==1 of=liver:1.1", "remove a="}, releases: "liver 1.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			past := receiptsOf(t, tt.receipts...)
			var back, releases, now []string
			for i, d := range past.lastPush() {
				if i == 0 {
					back = append(back, d.receipt[7:8])
				}
				back = append(back, d.name)
			}
			for _, r := range past.releases() {
				releases = append(releases, r.Application+" "+r.Version)
			}
			for _, k := range past.order {
				if s := past.stories[k]; s.now != nil {
					now = append(now, k.name+"="+s.now.image.After.ID)
				}
			}
			slices.Sort(now)
			if got := strings.Join(back, " "); got != tt.back {
				t.Errorf("a rollback would take %q back, want %q", got, tt.back)
			}
			if got := strings.Join(releases, ", "); got != tt.releases {
				t.Errorf("loaded are %q, want %q", got, tt.releases)
			}
			if got := strings.Join(now, " "); got != tt.now {
				t.Errorf("set are %q, want %q", got, tt.now)
			}
		})
	}
}

// A load that was taken back as a whole is credited with nothing, not with what it left as it was either.
func TestHistoryCredits(t *testing.T) {
	for _, tt := range []struct {
		name     string
		receipts []string
		version  string // that a came from; "gone" when nothing placed it
	}{
		{"rolled back", []string{"push a=1 of=liver:1.0", "push a==1 b=1 of=liver:1.1", "rollback b=/1"}, "1.0"},
		{"twice", []string{"push a=1 of=liver:1.0", "push a==1 b=1 of=liver:1.1", "push a==1 b=2 of=liver:1.2", "rollback b=1/2", "rollback b=/1"}, "1.0"},
		{"in part", []string{"push a=1 of=liver:1.0", "push a==1 b=1 c=1 of=liver:1.1", "rollback b=/1"}, "1.1"},
		{"all of it as it was", []string{"push a=1 of=liver:1.0", "push a==1 of=liver:1.1", "rollback a==1/1"}, "1.0"},
		{"not rolled back", []string{"push a=1 of=liver:1.0", "push a==1 of=liver:1.1"}, "1.1"},
		{"there before", []string{"push a== b=1 of=liver:1.0", "rollback b=/0"}, "gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			version := "gone"
			if now := receiptsOf(t, tt.receipts...).stories[key{name: "a"}].now; now != nil {
				version = now.from.Version
			}
			if version != tt.version {
				t.Errorf("it is credited to %s, want %s", version, tt.version)
			}
		})
	}
}

// Where a state came from is told again after a rollback to it.
func TestHistoryTellsTheOrigin(t *testing.T) {
	past := receiptsOf(t, "push a=1 of=liver:1.0", "push a=2 of=liver:1.1", "rollback a=1/1")
	if now := past.stories[key{name: "a"}].now; now.from == nil || now.from.Version != "1.0" {
		t.Errorf("it came from %+v", now.from)
	}
	past = receiptsOf(t, "push a=2 of=liver:1.1", "rollback a=0/0")
	if now := past.stories[key{name: "a"}].now; now.from != nil {
		t.Errorf("what was there before any load came from %+v", now.from)
	}
}
