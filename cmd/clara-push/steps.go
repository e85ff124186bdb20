package main

import (
	"context"
	"slices"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer"
)

// checkSteps refuses to load an ensemble of which a step would be missing: a server that finds it so may not even start. S is the
// host's server; nil when nobody asks it.
func checkSteps(ctx context.Context, models []manifest.Model, dst transfer.Target, s *serving) error {
	names := stepsElsewhere(models)
	if len(names) == 0 {
		return nil
	}
	there, err := presentOn(ctx, names, dst, s)
	if err != nil {
		return err
	}
	for _, m := range models {
		for _, step := range m.After {
			if slices.Contains(names, step) && !slices.Contains(there, step) {
				return manifest.Fail(manifest.KindModel, "check model "+m.Name, "the ensemble needs the model %q, which is neither in what is loaded nor on the host", step).
					Advise("load a bundle that has it first, or leave the ensemble out with --only")
			}
		}
	}
	return nil
}

// stepsElsewhere are the models that ensembles among models need and that are not among them.
func stepsElsewhere(models []manifest.Model) []string {
	var names []string
	for _, m := range models {
		for _, step := range m.After {
			here := slices.ContainsFunc(models, func(o manifest.Model) bool { return o.Name == step })
			if !here && !slices.Contains(names, step) {
				names = append(names, step)
			}
		}
	}
	return names
}
