//go:build linux

package loader

import (
	"context"
	"slices"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// publish moves the names to the images that were placed, one after the other, and notes each in the receipt.
func (a *applying) publish(ctx context.Context, images []placed, r *manifest.Receipt) error {
	a.commit()
	for n, ip := range a.plan.Images {
		done, err := a.publishOne(ctx, ip, images[n])
		if err != nil {
			return err
		}
		r.Images = append(r.Images, done)
		if ip.Action != manifest.ActionNothing {
			r.Warnings = append(r.Warnings, a.host.dropKeepers(ctx, ip.Image.Ref, a.plan.Keep, done.Keeper)...)
		}
	}
	return nil
}

// publishOne moves one name, if it still points at what the plan saw, and keeps the former image reachable first.
func (a *applying) publishOne(ctx context.Context, ip manifest.ImagePlan, p placed) (manifest.Done, error) {
	ref := ip.Image.Ref
	before, err := a.bearer(ctx, ip)
	if err != nil {
		return manifest.Done{}, err
	}
	done := manifest.Done{Ref: ref, Action: ip.Action, Before: before, After: before}
	if ip.Action == manifest.ActionNothing {
		done.Proof = []string{"the name pointed at this image before, whole by the engine's own account"}
		return done, nil
	}
	id := p.image.ID
	done.After = manifest.State{ID: id, Config: ip.Image.Config.Digest, Manifest: p.image.Manifest.Digest}
	done.Proof = p.proof
	if before.ID != "" && before.ID != id {
		if done.Stale, err = a.host.running(ctx, before.ID); err != nil {
			return done, err
		}
		if a.plan.Keep > 0 {
			done.Keeper = keeperName(ref, before)
			if err := a.host.engine.Tag(ctx, before.ID, done.Keeper); err != nil {
				return done, moved(ref, err)
			}
		}
	}
	a.ev.Say(manifest.StepTag, ref, "naming "+id)
	return done, a.host.move(ctx, ref, id)
}

// bearer says what bears the name now; it must be what the plan saw.
func (a *applying) bearer(ctx context.Context, ip manifest.ImagePlan) (manifest.State, error) {
	id, err := a.host.engine.ID(ctx, ip.Image.Ref)
	if err != nil {
		return manifest.State{}, err
	}
	if id != ip.Former {
		return manifest.State{}, manifest.Fail(manifest.KindStale, "name "+ip.Image.Ref, "somebody else moved the name meanwhile: from %q to %q", ip.Former, id)
	}
	s := manifest.State{ID: id}
	if id == "" {
		return s, nil
	}
	if img, err := a.host.engine.Image(ctx, id, manifest.Platform{}); err == nil { // a broken one has no more to tell
		s.Config, s.Manifest = img.Config.Digest, img.Manifest.Digest
	}
	return s, nil
}

// move gives the image id the name ref and looks whether it has it.
func (h *Host) move(ctx context.Context, ref, id string) error {
	if err := h.engine.Tag(ctx, id, ref); err != nil {
		return moved(ref, err)
	}
	now, err := h.engine.ID(ctx, ref)
	if err == nil && now != id {
		err = manifest.Fail(manifest.KindStale, "name "+ref, "it points at %s right after it was given to %s", now, id)
	}
	return err
}

// moved says that an image went away under our hands, if that is what err says.
func moved(ref string, err error) error {
	if manifest.KindOf(err) == manifest.KindNotFound {
		return manifest.Fail(manifest.KindStale, "name "+ref, "%w", err)
	}
	return err
}

// running lists the containers that run the image id.
func (h *Host) running(ctx context.Context, id string) ([]manifest.Container, error) {
	containers, err := h.engine.Containers(ctx)
	return slices.DeleteFunc(containers, func(c manifest.Container) bool { return c.Image != id || c.State != "running" }), err
}
