package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer"
	"github.com/clara-push/clara-push/pkg/triton"
)

// servingOptions are the flags about the server that is to serve the models.
type servingOptions struct {
	url      string
	timeout  time.Duration
	rollback bool
}

func (o *servingOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.url, "triton", "", "HTTP `address` of the running Triton, such as http://localhost:8000: have it load the models, and wait for them; localhost is the host's")
	f.DurationVar(&o.timeout, "triton-timeout", triton.DefaultLimit, "how long to wait for each model")
	f.BoolVar(&o.rollback, "rollback-on-failure", false, "put the former models back when Triton does not take the new ones")
}

// check finds flags that make no sense together.
func (o servingOptions) check(keep int) error {
	switch {
	case o.url == "" && o.rollback:
		return manifest.Fail(manifest.KindUsage, "", "--rollback-on-failure without --triton: nobody would tell of a failure").
			Advise("name the server, as in --triton http://localhost:8000")
	case o.rollback && keep == 0:
		return manifest.Fail(manifest.KindUsage, "", "--rollback-on-failure needs a former state, and --keep 0 keeps none")
	case o.timeout <= 0:
		return manifest.Fail(manifest.KindUsage, "", "--triton-timeout must be longer than nothing")
	}
	return nil
}

// serving has a running server take the models of one push.
type serving struct {
	servingOptions
	server *triton.Server
	dst    transfer.Keeper
	served func(context.Context, manifest.ModelPlan) ([]int64, error) // which versions of a model are to be served
	before map[string][]triton.VersionState
	ev     manifest.Events
	sum    serverSum
}

// serverSum says what became of the models in the server.
type serverSum struct {
	URL     string        `json:"url"`
	Version string        `json:"version,omitempty"`
	Models  []servedModel `json:"models,omitempty"`
	// RolledBack are the models whose former state was put back.
	RolledBack []string `json:"rolledBack,omitempty"`
}

type servedModel struct {
	Name     string       `json:"name"`
	Versions []int64      `json:"versions,omitempty"`
	Taken    triton.Taken `json:"taken"` // "ready" or "placed; reload not observable"; empty: no
}

// openServing asks the server what it serves now of models, before anything is changed. Without --triton it returns nil.
func openServing(ctx context.Context, o servingOptions, models []manifest.Model, dst site, ev manifest.Events) (*serving, error) {
	if o.url == "" {
		return nil, nil
	}
	var via triton.Dialer // of this machine
	if ssh, ok := dst.(*transfer.SSH); ok && triton.IsLoopback(o.url) {
		via = ssh.DialHost
	}
	server, err := triton.Dial(ctx, o.url, via)
	if err != nil {
		return nil, err
	}
	s := &serving{servingOptions: o, server: server, dst: dst, before: map[string][]triton.VersionState{}, ev: ev}
	s.sum.URL, s.sum.Version = server.URL, server.Version
	for _, m := range models {
		if s.before[m.Name], err = server.States(ctx, m.Name); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// atOrigin tells what is served of a model that was read from a folder here, with config in the place of its own
// configuration.
func atOrigin(config string) func(context.Context, manifest.ModelPlan) ([]int64, error) {
	return func(ctx context.Context, m manifest.ModelPlan) ([]int64, error) {
		return triton.Served(ctx, m.Model.Origin, triton.Options{ConfigFile: config, Name: m.Model.Name}, m.Kept)
	}
}

// after has the server take what was placed, model by model in the order of placement, so steps come before ensembles.
func (s *serving) after(ctx context.Context, plan manifest.Plan) error {
	for _, m := range plan.Models {
		if err := s.take(ctx, m); err != nil {
			return s.undo(ctx, plan, s.explain(ctx, err))
		}
	}
	return nil
}

func (s *serving) take(ctx context.Context, m manifest.ModelPlan) error {
	versions, err := s.served(ctx, m)
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		return manifest.Fail(manifest.KindServer, "load "+m.Model.Name, "no version of it would be served").Advise("clara-push lint tells why")
	}
	s.ev.Say(manifest.StepServe, m.Model.Name, "waiting for Triton "+s.server.Version)
	taken, err := s.server.Take(ctx, triton.Want{
		Model: m.Model.Name, Versions: versions, Before: s.before[m.Model.Name], Limit: s.timeout,
	})
	s.sum.Models = append(s.sum.Models, servedModel{m.Model.Name, versions, taken})
	return err
}

// explain says what an interruption means once models are placed.
func (s *serving) explain(ctx context.Context, err error) error {
	if !errors.Is(ctx.Err(), context.Canceled) {
		if errors.Is(err, context.DeadlineExceeded) {
			return manifest.Fail(manifest.KindServer, "wait for Triton", "the models were not ready within --timeout")
		}
		return err
	}
	return manifest.Fail(manifest.KindUnknown, "wait for Triton", "interrupted; the models are placed, and whether Triton has taken them is not known").
		Advise("run the same command again: it asks")
}

// undoLimit is how long going back may take, which an expired --timeout must not keep from happening.
const undoLimit = 5 * time.Minute

// undo puts the former models back, when that is wanted, and returns why, with what was done.
func (s *serving) undo(ctx context.Context, plan manifest.Plan, why error) error {
	var f *manifest.Failure
	if !s.rollback || !errors.As(why, &f) || f.Kind == manifest.KindUnknown {
		return why
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	hint := "rolled back: the host has what it had before"
	for _, m := range slices.Backward(plan.Models) {
		if m.Place == manifest.PlaceNothing {
			continue
		}
		s.ev.Say(manifest.StepServe, m.Model.Name, "putting the former state back")
		receipt, err := s.dst.Rollback(ctx, manifest.Selection{Models: []string{m.Model.Name}})
		if err != nil {
			hint = fmt.Sprintf("%s could not be rolled back: %v; try clara-push rollback HOST --model %s", m.Model.Name, err, m.Model.Name)
			continue // the others can
		}
		s.sum.RolledBack = append(s.sum.RolledBack, m.Model.Name)
		gone := slices.ContainsFunc(receipt.Models, func(d manifest.DoneModel) bool { return d.Gone && d.Entry == "" })
		if err := s.restore(ctx, m.Model.Name, gone); err != nil {
			hint = fmt.Sprintf("rolled back, but Triton did not take the former %s: %v", m.Model.Name, err)
		}
	}
	if plan.Nothing() {
		hint = "nothing was placed, so nothing is rolled back"
	}
	if f.Hint == "" {
		return f.Advise("%s", hint)
	}
	return f.Advise("%s; %s", hint, f.Hint)
}

// restore has the server take what was put back, where it takes orders. It waits no longer than for what it did not take.
func (s *serving) restore(ctx context.Context, model string, gone bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	order := s.server.Load
	if gone {
		order = s.server.Unload
	}
	err := order(ctx, model)
	switch {
	case errors.Is(err, triton.ErrNotExplicit):
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("it has not answered within %v", s.timeout)
	}
	return err
}

// addServer notes what became of models in the server. What was rolled back is not done.
func (s *summary) addServer(sum *serverSum) {
	s.Server = sum
	for i := range s.Models {
		if sum != nil && slices.Contains(sum.RolledBack, s.Models[i].Name) {
			s.Models[i].Done = false
		}
	}
}

// lines say what the server does with the models.
func (s *serverSum) lines() []string {
	if s == nil {
		return nil
	}
	var lines []string
	for _, m := range s.Models {
		if m.Taken == "" {
			continue
		}
		line := fmt.Sprintf("%s: ready in Triton %s, version %s", m.Name, s.Version, numbers(m.Versions))
		if m.Taken == triton.TakenUnseen {
			line = fmt.Sprintf("%s: %s (Triton %s serves version %s, as before, and takes no orders: it reads what was placed when it polls, or when it is restarted)",
				m.Name, m.Taken, s.Version, numbers(m.Versions))
		}
		lines = append(lines, line)
	}
	return lines
}

func numbers(versions []int64) string {
	text := ""
	for i, v := range versions {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprint(v)
	}
	return text
}
