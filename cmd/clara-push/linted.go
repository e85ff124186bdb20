package main

import (
	"context"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer"
	"github.com/clara-push/clara-push/pkg/triton"
)

// linted is what Triton's rules say of the models of one push: at first as far as it can be said from here, then with what
// the host knows.
type linted struct {
	dirs    []string
	rules   triton.Options
	strict  bool
	ask     bool // the server is to say which version's rules count
	reports []triton.Report
	warn    func(...string)
}

// lintModels checks models as far as it can be said from here. Version is empty for the current one.
func lintModels(ctx context.Context, dirs []string, config, version string, strict bool, warn func(...string)) (*linted, error) {
	l := &linted{dirs: dirs, rules: triton.Options{ConfigFile: config}, strict: strict, warn: warn}
	if version != "" {
		var err error
		if l.rules.Version, err = triton.ParseServerVersion(version); err != nil {
			return nil, err
		}
	}
	return l, l.check(ctx)
}

// lint checks the models before anything is connected to. It fails when they are refused whatever the host says. Findings are
// told at once, unless the host may still change them.
func (o *modelOptions) lint(ctx context.Context, dirs []string, warn func(...string)) (*linted, error) {
	l, err := lintModels(ctx, dirs, o.config, o.tritonVersion, o.strict, warn)
	if err != nil {
		return nil, err
	}
	if l.ask = o.serving.url != "" && o.tritonVersion == ""; !l.open() {
		return l, l.settled()
	}
	if err := l.verdict(false); err != nil {
		l.tell(err)
		return nil, err
	}
	return l, nil
}

// open reports whether the host may change what was found.
func (l *linted) open() bool { return l.ask || len(l.elsewhere()) > 0 }

// settled tells what was found, and fails when a model is refused.
func (l *linted) settled() error {
	err := l.verdict(l.strict)
	l.tell(err)
	return err
}

func (l *linted) check(ctx context.Context) (err error) {
	l.reports, err = triton.CheckAll(ctx, l.dirs, l.rules)
	return err
}

// tell says what was found, but for what the error says for which a model is refused.
func (l *linted) tell(refused error) {
	for _, m := range l.reports {
		for _, f := range m.Findings {
			text := f.Place() + ": " + f.Text
			switch {
			case refused != nil && strings.Contains(refused.Error(), text):
				continue
			case f.Severity == triton.Refuse:
				text = f.String()
			}
			l.warn(text + "; " + f.Advice)
		}
	}
}

// verdict fails when a model is refused.
func (l *linted) verdict(strict bool) error {
	for _, m := range l.reports {
		if err := m.Err(strict); err != nil {
			return err
		}
	}
	return nil
}

// needs are the models that each one needs, by its name.
func (l *linted) needs() map[string][]string {
	needs := map[string][]string{}
	for _, m := range l.reports {
		needs[m.Model] = m.Config.Needs()
	}
	return needs
}

// elsewhere are the models that ensembles of the push need and that are not in it.
func (l *linted) elsewhere() []string {
	needs := l.needs()
	var names []string
	for _, steps := range needs {
		for _, s := range steps {
			if _, here := needs[s]; !here && !slices.Contains(names, s) {
				names = append(names, s)
			}
		}
	}
	slices.Sort(names)
	return names
}

// again checks with what the host knows: which server it has, and which models of others. It does nothing when that changes
// nothing.
func (l *linted) again(ctx context.Context, dst *transfer.SSH, s *serving) error {
	if !l.open() {
		return nil
	}
	if l.ask {
		v, err := triton.ParseServerVersion(s.server.Version)
		if err == nil {
			l.rules.Version = v
		} else {
			l.warn("Triton says that it is version " + manifest.Plain(s.server.Version) + ", which is no release that is known: the models are checked by the rules of the current one")
		}
	}
	if names := l.elsewhere(); len(names) > 0 {
		there, err := presentOn(ctx, names, dst, s)
		if err != nil {
			return err
		}
		l.rules.Present = func(model string) bool { return slices.Contains(there, model) }
	}
	if err := l.check(ctx); err != nil {
		return err
	}
	return l.settled()
}

// presentOn lists which of the models are in the host's repository, or known to its server, which may have several.
func presentOn(ctx context.Context, names []string, dst transfer.Target, s *serving) ([]string, error) {
	inv, err := dst.Inventory(ctx, manifest.Query{Models: &manifest.ModelQuery{Present: names}})
	if err != nil {
		return nil, err
	}
	if err := manifest.Placeable(inv.Repository); err != nil {
		return nil, err
	}
	there := inv.Repository.Present
	for _, name := range names {
		if s == nil || slices.Contains(there, name) {
			continue
		}
		states, err := s.server.States(ctx, name)
		if err != nil {
			return nil, err
		}
		if len(states) > 0 {
			there = append(there, name)
		}
	}
	return there, nil
}
