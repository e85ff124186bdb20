package main

import (
	"fmt"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// tolerable is how far two clocks may differ before it is worth a word.
const tolerable = 5 * time.Second

// targetLines says what a host is. fit tells whether a push would work.
func targetLines(host string, inv manifest.Inventory, fit bool, now time.Time) []string {
	e := inv.Engine
	lines := []string{
		host + map[bool]string{true: ": a push would work", false: ": a push would fail"}[fit],
		entry("host", inv.Name),
		entry("user", inv.User+", may use the engine and write to the stage"),
		entry("agent", "clara-push "+inv.Agent),
		entry("engine", fmt.Sprintf("%s %s (API %s)", e.Name, e.Version, e.API)),
		entry("store", string(e.Store)+" "+e.Driver),
		entry("platform", manifest.FormatPlatform(e.Platform)),
		entry("stage", room(inv.Stage)),
		entry("engine data", room(inv.Data)),
	}
	if skew := inv.Clock.Sub(now); !inv.Clock.IsZero() && skew.Abs() > tolerable {
		lines = append(lines, entry("clock", formatDuration(skew.Abs())+map[bool]string{true: " ahead of", false: " behind"}[skew > 0]+" this machine"))
	}
	return lines
}

func (s *summary) addTarget(inv manifest.Inventory) {
	e := inv.Engine
	for _, text := range []*string{&e.Name, &e.Version, &e.API, &e.Driver, &e.Root} {
		*text = manifest.Plain(*text)
	}
	s.Target = &targetSum{
		Agent: manifest.Plain(inv.Agent), Name: manifest.Plain(inv.Name), User: manifest.Plain(inv.User),
		Clock: inv.Clock.UTC().Format(time.RFC3339), Engine: e, Stage: plainSpace(inv.Stage), Data: plainSpace(inv.Data),
	}
}

func plainSpace(s manifest.Space) manifest.Space {
	s.Path = manifest.Plain(s.Path)
	return s
}
