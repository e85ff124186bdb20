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
	what := "push"
	if host == named("") {
		what = "load"
	}
	lines := []string{
		host + ": a " + what + map[bool]string{true: " would work", false: " would fail"}[fit],
		entry("host", inv.Name),
		entry("user", inv.User+userMay(inv)),
		entry("agent", "clara-push "+inv.Agent),
	}
	if e.Name != "" {
		lines = append(lines,
			entry("engine", fmt.Sprintf("%s %s (API %s)", e.Name, e.Version, e.API)),
			entry("store", string(e.Store)+" "+e.Driver),
			entry("platform", manifest.FormatPlatform(e.Platform)),
			entry("stage", room(inv.Stage)),
			entry("engine data", room(inv.Data)))
	}
	lines = append(lines, repositoryLines(inv.Repository)...)
	if skew := inv.Clock.Sub(now); !inv.Clock.IsZero() && skew.Abs() > tolerable {
		lines = append(lines, entry("clock", formatDuration(skew.Abs())+map[bool]string{true: " ahead of", false: " behind"}[skew > 0]+" this machine"))
	}
	return lines
}

func userMay(inv manifest.Inventory) string {
	if inv.Engine.Name == "" {
		return ""
	}
	return ", may use the engine and write to the stage"
}

// repositoryLines says whether models can be placed, and if not, what a person must do once.
func repositoryLines(r *manifest.Repository) []string {
	if r == nil {
		return nil
	}
	if r.Refusal != "" {
		lines := []string{entry("models", "cannot be placed: "+r.Refusal)}
		if r.Advice != "" {
			lines = append(lines, entry("", r.Advice))
		}
		return lines
	}
	how := "exchanged in one step"
	if !r.Exchange {
		how = "replaced by two renames, as the file system cannot exchange: a model is absent for a moment"
	}
	return []string{entry("models", "can be placed in "+r.Path+", "+how), entry("beside it", room(r.Stage))}
}

// repositorySum is a folder of models.
type repositorySum struct {
	Path     string         `json:"path"`
	Usable   bool           `json:"usable"`
	Exchange bool           `json:"exchange"`
	Stage    manifest.Space `json:"stage"`
	Refusal  string         `json:"refusal,omitempty"`
	Advice   string         `json:"advice,omitempty"`
}

func sumRepository(r *manifest.Repository) *repositorySum {
	if r == nil {
		return nil
	}
	return &repositorySum{
		Path: manifest.Plain(r.Path), Usable: r.Refusal == "", Exchange: r.Exchange, Stage: plainSpace(r.Stage),
		Refusal: manifest.Plain(r.Refusal), Advice: manifest.Plain(r.Advice),
	}
}

func (s *summary) addTarget(inv manifest.Inventory) {
	e := inv.Engine
	for _, text := range []*string{&e.Name, &e.Version, &e.API, &e.Driver, &e.Root} {
		*text = manifest.Plain(*text)
	}
	s.Target = &targetSum{
		Agent: manifest.Plain(inv.Agent), Name: manifest.Plain(inv.Name), User: manifest.Plain(inv.User),
		Clock: inv.Clock.UTC().Format(time.RFC3339), Engine: e, Stage: plainSpace(inv.Stage), Data: plainSpace(inv.Data), Repository: sumRepository(inv.Repository),
	}
}

func plainSpace(s manifest.Space) manifest.Space {
	s.Path = manifest.Plain(s.Path)
	return s
}
