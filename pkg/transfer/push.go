package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Options steer Push. The zero value pushes what the target lacks, for the target's platform.
type Options struct {
	Plan     manifest.Options
	DryRun   bool              // make the plan and stop
	Platform manifest.Platform // zero: the target's
	Events   manifest.Events
}

// Result is what became of a push.
type Result struct {
	Plan      manifest.Plan
	Inventory manifest.Inventory
	Receipt   manifest.Receipt // zero for a dry run and when there was nothing to do
	Took      time.Duration
}

// How often a push starts again. A lost connection counts afresh whenever something arrived in between.
const (
	maxLosses = 10
	maxStale  = 3
)

// Push makes dst have what src yields. It starts again, resuming, when the connection is lost or the host changed under
// it; no other failure is tried twice. When it returns nil without DryRun, the host has everything and it was proven.
func Push(ctx context.Context, src Source, dst Target, o Options) (Result, error) {
	began := time.Now()
	p := &push{src: src, dst: dst, options: o, checked: map[manifest.Digest]bool{}, pause: backoff.NewExponentialBackOff()}
	p.pause.InitialInterval, p.pause.MaxInterval = 500*time.Millisecond, 20*time.Second
	r, err := p.untilDone(ctx)
	r.Took = time.Since(began)
	if isHere(dst) {
		err = plainly(err)
	}
	switch ended := err != nil && ctx.Err() != nil; {
	case p.past && (ended || manifest.KindOf(err) == manifest.KindConnect):
		err = openEnded(err)
	case ended:
		err = stopped(ctx, err, isHere(dst))
	}
	return r, err
}

// openEnded says of err, which ended the push, that the host was past its commit point when it was last heard of.
func openEnded(err error) error {
	if manifest.KindOf(err) == manifest.KindUnknown {
		return err
	}
	// The host's name is said once, around all.
	return manifest.Fail(manifest.KindUnknown, "load", "the connection was lost after the host had everything, and it goes on by itself: %w", hostless(err)).
		Advise("run the same command again: it tells how that ended")
}

// isHere reports whether dst is this machine: nothing is sent there, and no image is staged.
func isHere(dst Target) bool {
	_, here := dst.(*Local)
	return here
}

// stopped says that it was the caller who ended the push, unless the host may be past its commit point.
func stopped(ctx context.Context, err error, here bool) error {
	step, again, unchanged := "push", "run the same command again: what has arrived is kept", "the host is unchanged"
	if here {
		step, again, unchanged = "load", "run the same command again", "this machine is unchanged"
	}
	switch {
	case manifest.KindOf(err) == manifest.KindUnknown:
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return manifest.Fail(manifest.KindConnect, step, "not finished within the time given").
			Advise("%s; or raise --timeout", again)
	}
	return manifest.Fail(manifest.KindInterrupted, step, "interrupted; %s", unchanged).
		Advise("%s", again)
}

type push struct {
	src     Source
	dst     Target
	options Options
	pause   *backoff.ExponentialBackOff
	applied *manifest.Plan           // what the last attempt began to apply
	checked map[manifest.Digest]bool // of the source's blobs
	losses  int
	stale   int
	past    bool // the host passed its commit point, and has not told what came of it

	mu   sync.Mutex
	sent int64 // raw bytes that an attempt had delivered, to see progress between losses
}

// untilDone is the only loop that tries again.
func (p *push) untilDone(ctx context.Context) (Result, error) {
	for {
		before := p.delivered()
		r, err := p.once(ctx)
		if err == nil || ctx.Err() != nil {
			return r, err
		}
		switch manifest.KindOf(err) {
		case manifest.KindConnect:
			err = p.afterLoss(ctx, err, p.delivered() != before)
		case manifest.KindStale:
			err = p.afterStale(err)
		}
		if err != nil {
			return r, err
		}
	}
}

// once asks, plans and applies.
func (p *push) once(ctx context.Context) (Result, error) {
	var r Result
	platform := p.options.Platform
	if platform.OS == "" {
		platform = p.dst.Platform()
	}
	artifacts, err := p.src.Artifacts(ctx, platform)
	if err != nil {
		return r, OfSource(err)
	}
	r.Inventory, err = p.dst.Inventory(ctx, manifest.Ask(artifacts))
	if err != nil {
		return r, err
	}
	r.Plan, err = manifest.Diff(artifacts, r.Inventory, p.options.Plan)
	if err != nil || p.options.DryRun {
		return r, err
	}
	return p.apply(ctx, r)
}

// apply carries r.Plan out. Where nothing is to do, two things may be left of attempts that were broken off when they were
// done but for it: the receipt of an attempt of this push, and chunks in the stage. And the target shall remember a release
// that it has, but was never loaded with.
func (p *push) apply(ctx context.Context, r Result) (Result, error) {
	plan := r.Plan
	if err := p.check(ctx, plan); err != nil {
		return r, err
	}
	switch {
	case !plan.Nothing():
		p.applied = &plan
		p.options.Events.Say(manifest.StepPlan, "", describe(plan, isHere(p.dst)))
	case p.applied != nil:
		r.Plan = *p.applied
	case !leftovers(r.Inventory) && !unheard(plan.Provenance, r.Inventory.Releases):
		return r, nil
	}
	var err error
	r.Receipt, err = p.dst.Apply(ctx, plan, p.src, p.watch)
	p.past = errors.As(err, new(pastCommit))
	return r, p.blame(ctx, plan, err)
}

// blame says what a damaged source says of itself: it knows better where the damage is than who met it.
func (p *push) blame(ctx context.Context, plan manifest.Plan, met error) error {
	c, ok := p.src.(Checker)
	if !ok || manifest.KindOf(met) != manifest.KindIntegrity {
		return met
	}
	var all []manifest.Digest
	for _, b := range slices.Concat(plan.Blobs, plan.Files) {
		all = append(all, b.Digest)
	}
	if found := c.Verify(ctx, all, p.options.Events); found != nil {
		return OfSource(found)
	}
	return met
}

// check has the source check what the plan will read of it, once in a push. What is loaded first needs no check beforehand: it
// is hashed on its way, and an engine takes nothing of an archive whose end never comes.
func (p *push) check(ctx context.Context, plan manifest.Plan) error {
	c, ok := p.src.(Checker)
	if !ok {
		return nil
	}
	var digests []manifest.Digest
	first := map[manifest.Digest]bool{}
	if n := slices.IndexFunc(plan.Images, func(i manifest.ImagePlan) bool { return i.Action == manifest.ActionLoad }); n >= 0 {
		for _, b := range plan.Images[n].Needs() {
			first[b.Digest] = true
		}
	}
	for _, b := range slices.Concat(plan.Blobs, plan.Files) {
		if !first[b.Digest] && !p.checked[b.Digest] {
			digests = append(digests, b.Digest)
		}
	}
	if len(digests) == 0 {
		return nil
	}
	if err := c.Verify(ctx, digests, p.options.Events); err != nil {
		return OfSource(err)
	}
	for _, d := range digests {
		p.checked[d] = true
	}
	return nil
}

// leftovers reports whether the stages hold something that the push asked about.
func leftovers(inv manifest.Inventory) bool {
	return len(inv.Staged) > 0 || inv.Repository != nil && len(inv.Repository.Staged) > 0
}

// unheard reports whether from is a release that no receipt of the target tells of.
func unheard(from *manifest.Provenance, loaded []manifest.Release) bool {
	return from != nil && from.Application != "" && !slices.ContainsFunc(loaded, func(r manifest.Release) bool {
		return r.Application == manifest.Plain(from.Application) && r.Version == manifest.Plain(from.Version)
	})
}

func describe(p manifest.Plan, here bool) string {
	s, verb, before := p.Sizes, "send", "sent before"
	if here {
		verb, before = "read", "read before"
	}
	text := fmt.Sprintf("%s to %s, %s there already", manifest.FormatBytes(s.Send), verb, manifest.FormatBytes(s.Present))
	if s.Staged > 0 {
		text += fmt.Sprintf(", %s %s", manifest.FormatBytes(s.Staged), before)
	}
	if s.Unknown > 0 {
		text += fmt.Sprintf(" (%d sizes not known before the engine has saved the image)", s.Unknown)
	}
	return text
}

func (p *push) watch(e manifest.Event) {
	if e.Step == manifest.StepSend {
		p.mu.Lock()
		p.sent = max(p.sent, e.Done)
		p.mu.Unlock()
	}
	if p.options.Events != nil {
		p.options.Events(e)
	}
}

func (p *push) delivered() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

// afterLoss waits before the next attempt. It gives up after maxLosses in a row without progress.
func (p *push) afterLoss(ctx context.Context, lost error, progress bool) error {
	if progress {
		p.losses = 0
		p.pause.Reset()
	}
	p.losses++
	if p.losses > maxLosses {
		return givenUp(lost)
	}
	wait := p.pause.NextBackOff()
	p.options.Events.Say(manifest.StepRetry, "", fmt.Sprintf("%s; trying again in %s", lost, wait.Round(100*time.Millisecond)))
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return lost
	}
}

// givenUp says that lost was the end of a connection that had been there, so that something has arrived.
func givenUp(lost error) error {
	var f *manifest.Failure
	if !errors.As(lost, &f) || isOfSource(lost) { // of a registry, which says itself what to do
		return lost
	}
	g := *f
	g.Err = fmt.Errorf("the connection was lost and did not come back in %d attempts: %w", maxLosses, f.Err)
	return g.Advise("see whether the host can be reached, then run the same command again: what has arrived is kept")
}

// afterStale notes what the host turned out not to have.
func (p *push) afterStale(stale error) error {
	p.applied = nil // the host has told that nothing came of it
	p.stale++
	if p.stale > maxStale {
		return manifest.Fail(manifest.KindEngine, "push", "the host kept changing under the push: %w", stale).
			Advise("see what else changes images or models on that host, then run the same command again")
	}
	var f *manifest.Failure
	if errors.As(stale, &f) {
		p.options.Plan.Absent = append(p.options.Plan.Absent, f.Absent...)
	}
	p.options.Events.Say(manifest.StepRetry, "", fmt.Sprintf("%s; planning again", stale))
	return nil
}
