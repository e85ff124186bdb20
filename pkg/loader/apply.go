//go:build linux

package loader

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// Apply carries the plan out. First every image is loaded without a name, or found, and proven, and every model is built
// beside its repository; only then are names moved and models placed, so that a failure before leaves all as it was. commit
// is called once, when nothing more is needed of the feed and the stage: when the last byte of the last archive is about to be
// handed to the engine, which will finish what it has; with models that are built, right before the first change. From then on
// ctx should not be cancelled any more.
//
// What is killed between the first and the last change is completed by the next Open or Lock. The receipt is written to the
// state folder when at least one name was dealt with, also beside an error. Failures:
// KindStale when the host is not what the plan says (plan again; Absent names what the engine lacks), KindIntegrity when
// bytes are not what the plan says, KindMalformed for a plan that makes no sense, KindSpace and KindEngine as the engine
// tells. An error of the feed is returned as it is.
func (h *Host) Apply(ctx context.Context, p manifest.Plan, f Feed, commit func(), ev manifest.Events) (manifest.Receipt, error) {
	if err := h.check(p); err != nil {
		return manifest.Receipt{}, err
	}
	if h.engine != nil {
		_ = h.engine.RemoveProofs(ctx) // what a killed process left is not this push's to fail for
	}
	j := &journal{Receipt: h.newReceipt(p)}
	a := &applying{host: h, plan: p, feed: f, ev: ev, commit: sync.OnceFunc(commit), sizes: map[manifest.Digest]int64{}}
	placed, err := a.place(ctx)
	if err != nil {
		return j.Receipt, err
	}
	if j.Models, err = h.prepare(ctx, p, &j.Receipt); err != nil {
		return j.Receipt, err
	}
	if j.Images, err = a.flips(ctx, placed); err != nil {
		if e := h.models.scrap(j.Models); e != nil {
			err = errors.Join(err, e)
		}
		return j.Receipt, err
	}
	return h.carryOut(ctx, j, a.commit, ev)
}

// applying is one plan being carried out.
type applying struct {
	host   *Host
	plan   manifest.Plan
	feed   Feed
	ev     manifest.Events
	commit func()
	sizes  map[manifest.Digest]int64 // of the blobs that have passed, for manifests that are composed later
}

// placed is an image that the engine has whole.
type placed struct {
	image engine.Image
	proof []string
}

// place makes sure that the engine has every image of the plan whole, and moves no name. Images that were loaded before a
// later one failed stay, without a name: the next push finds them.
func (a *applying) place(ctx context.Context) ([]placed, error) {
	images := make([]placed, len(a.plan.Images))
	for n, ip := range a.plan.Images {
		var err error
		switch ip.Action {
		case manifest.ActionLoad:
			images[n], err = a.load(ctx, n)
		case manifest.ActionTag:
			images[n], err = a.host.prove(ctx, ip.Existing, identityOf(ip), a.ev)
		}
		if err != nil {
			return nil, a.explain(err)
		}
	}
	return images, nil
}

// explain ends the dealings with a blob that is not what its digest says: what the stage has of it is dropped, so that the
// next push sends it anew.
func (a *applying) explain(err error) error {
	var d *damaged
	if errors.As(err, &d) {
		_ = a.host.stage.Drop(d.blob)
	}
	return err
}

// lastArrival reports whether nothing more must arrive once image number n has: no image after it is loaded, and no model is
// built, whose files may come later.
func (a *applying) lastArrival(n int) bool {
	for _, ip := range a.plan.Images[n+1:] {
		if ip.Action == manifest.ActionLoad {
			return false
		}
	}
	return !slices.ContainsFunc(a.plan.Models, func(m manifest.ModelPlan) bool { return m.Place != manifest.PlaceNothing })
}

// load streams one image's thin archive into the engine while its blobs arrive, and proves what came of it.
func (a *applying) load(ctx context.Context, n int) (placed, error) {
	ip := a.plan.Images[n]
	a.ev.Say(manifest.StepLoad, ip.Image.Ref, "loading")
	l := &loading{applying: a, number: n, plan: ip, sent: map[manifest.Digest]bool{}}
	if err := l.stream(ctx); err != nil {
		l.undo(ctx)
		return placed{}, l.judge(err)
	}
	p, err := a.host.prove(ctx, l.id, identityOf(l.plan), a.ev)
	if err != nil {
		l.undo(ctx)
		return placed{}, l.judge(err)
	}
	return p, nil
}
