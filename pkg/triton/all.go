package triton

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// CheckAll checks several models that are pushed together: an ensemble may have its steps among them. The reports come in
// the order of dirs. The error is as Check's.
func CheckAll(ctx context.Context, dirs []string, o Options) ([]Report, error) {
	if len(dirs) > 1 && (o.Name != "" || o.ConfigFile != "") {
		return nil, manifest.Fail(manifest.KindUsage, "check model", "a name or a configuration can be given for one model only, not for %d", len(dirs))
	}
	var all []*checker
	set := map[string]*checker{}
	for _, dir := range dirs {
		c, err := check(ctx, dir, o)
		if err != nil {
			return nil, err
		}
		if other := set[c.name]; other != nil {
			c.refuse(RuleTwice, c.at(""), "%s has the same name; a repository holds one model of a name", filepath.Clean(other.dir)).advise("push one of the two, or rename one")
		} else {
			set[c.name] = c
		}
		all = append(all, c)
	}
	reports := make([]Report, 0, len(all))
	for _, c := range all {
		c.checkStepModels(set)
	}
	for _, c := range all {
		c.checkCircle(set)
		reports = append(reports, c.report())
	}
	return reports, nil
}

// checkStepModels looks whether the models that an ensemble runs are there, and take and give what it maps.
func (c *checker) checkStepModels(set map[string]*checker) {
	for _, s := range c.steps() {
		name := s.str("model_name")
		other := set[name]
		switch at := c.in(s.get("model_name")); {
		case name == "" || name == c.name || c.full():
		case other != nil:
			c.checkStepVersion(s, other)
			c.checkStepTensors(s, other)
		case c.Present == nil:
			c.warn(RuleStep, at, "the ensemble needs the model %q, and it cannot be seen from here whether the host has it", name).
				advise("push the two together, or see that the host has it")
		case !c.Present(name):
			c.refuse(RuleStep, at, "the ensemble needs the model %q, which the host does not have", name).advise("push the two together")
		}
	}
}

// checkStepVersion looks whether other serves the version that step s asks for. Triton reads a missing model_version as 0.
func (c *checker) checkStepVersion(s *field, other *checker) {
	if len(other.served) == 0 {
		return // said there
	}
	want := s.get("model_version")
	for _, v := range other.served {
		if want.int() == v.number || want.int() == -1 {
			return
		}
	}
	if want == nil {
		c.warn(RuleStep, c.in(s), "this step has no model_version, which Triton reads as version 0 of %q", other.name).advise("write model_version: -1 for the highest")
		return
	}
	c.refuse(RuleStep, c.in(want), "version %d of %q is not served", want.int(), other.name).advise("write model_version: -1 for the highest that is, or change the version policy of %s", other.name)
}

// checkStepTensors compares the maps of step s with the inputs and outputs that other names, if it names any.
func (c *checker) checkStepTensors(s *field, other *checker) {
	for _, side := range []struct{ field, kind string }{{"input_map", "input"}, {"output_map", "output"}} {
		names := other.tensorNames(side.kind)
		if len(names) == 0 {
			continue
		}
		for _, entry := range s.all(side.field) {
			if key := entry.str("key"); !names[key] {
				c.warn(RuleStep, c.in(entry), "model %q has no %s %q", other.name, side.kind, key).advise("write the name that %s has for it", other.name)
			}
		}
	}
}

// checkCircle looks for ensembles that need each other; the first of a circle is told.
func (c *checker) checkCircle(set map[string]*checker) {
	var path []string
	seen := map[string]bool{}
	var leads func(*checker) bool
	leads = func(from *checker) bool {
		for _, name := range from.summary().Needs() {
			if name == c.name && from != c {
				return true
			}
			if next := set[name]; next != nil && next != from && !seen[name] && name > c.name {
				seen[name] = true
				if path = append(path, name); leads(next) {
					return true
				}
				path = path[:len(path)-1]
			}
		}
		return false
	}
	if set[c.name] == c && leads(c) {
		c.refuse(RuleStep, c.in(c.steps()[0]), "the ensembles need each other in a circle: %s → %s → %s", c.name, strings.Join(path, " → "), c.name).
			advise("take one of them out of the other")
	}
}

// Order returns the reports so that every model comes after those that it needs, and else in the same order.
func Order(reports []Report) []Report {
	var sorted []Report
	byName, done := map[string]int{}, map[int]bool{}
	for i, r := range reports {
		byName[r.Model] = i
	}
	var place func(int)
	place = func(i int) {
		if done[i] {
			return
		}
		done[i] = true
		for _, name := range reports[i].Config.Needs() {
			if step, ok := byName[name]; ok {
				place(step)
			}
		}
		sorted = append(sorted, reports[i])
	}
	for i := range reports {
		place(i)
	}
	return sorted
}
