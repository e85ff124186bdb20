//go:build linux

package loader

import (
	"context"
	"slices"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// flips says for each image of the plan what its name bears and what it shall; the names must bear what the plan saw.
func (a *applying) flips(ctx context.Context, images []placed) ([]imageFlip, error) {
	var flips []imageFlip
	for n, ip := range a.plan.Images {
		before, err := a.bearer(ctx, ip)
		if err != nil {
			return nil, err
		}
		flips = append(flips, a.flipOf(ip, images[n], before))
	}
	return flips, nil
}

func (a *applying) flipOf(ip manifest.ImagePlan, p placed, before manifest.State) imageFlip {
	done := manifest.Done{Ref: ip.Image.Ref, Action: ip.Action, Before: before, After: before}
	if ip.Action == manifest.ActionNothing {
		done.Proof = []string{"the name pointed at this image before, whole by the engine's own account"}
		return imageFlip{Done: done, Keep: untouched}
	}
	done.After = manifest.State{ID: p.image.ID, Config: ip.Image.Config.Digest, Manifest: p.image.Manifest.Digest}
	done.Proof = p.proof
	if a.plan.Keep > 0 && before.ID != "" && done.Changed() {
		done.Keeper = keeperName(done.Ref, before)
	}
	want := identityOf(ip)
	want.Manifest = done.After.Manifest
	return imageFlip{Done: done, Want: want, Keep: a.plan.Keep}
}

// bearer says what bears the name now; it must be what the plan saw.
func (a *applying) bearer(ctx context.Context, ip manifest.ImagePlan) (manifest.State, error) {
	id, err := a.host.engine.ID(ctx, ip.Image.Ref)
	if err != nil {
		return manifest.State{}, err
	}
	if id != ip.Former {
		return manifest.State{}, movedAway(manifest.Done{Ref: ip.Image.Ref, Before: manifest.State{ID: ip.Former}}, id)
	}
	return a.host.stateOf(ctx, id), nil
}

// stateOf describes the image id; the zero state for an empty one.
func (h *Host) stateOf(ctx context.Context, id string) manifest.State {
	s := manifest.State{ID: id}
	if id == "" {
		return s
	}
	if img, err := h.engine.Image(ctx, id, manifest.Platform{}); err == nil { // a broken one has no more to tell
		s.Config, s.Manifest = img.Config.Digest, img.Manifest.Digest
	}
	return s
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

// namesOf lists the names of the image id.
func (h *Host) namesOf(ctx context.Context, id string) ([]string, error) {
	refs, err := h.engine.Refs(ctx)
	var names []string
	for ref, bearer := range refs {
		if bearer == id {
			names = append(names, ref)
		}
	}
	return names, err
}

// usersOf lists the containers that were made of the image id, running or not.
func (h *Host) usersOf(ctx context.Context, id string) ([]manifest.Container, error) {
	containers, err := h.engine.Containers(ctx)
	return slices.DeleteFunc(containers, func(c manifest.Container) bool { return c.Image != id }), err
}

// running lists the containers that run the image id.
func (h *Host) running(ctx context.Context, id string) ([]manifest.Container, error) {
	containers, err := h.usersOf(ctx, id)
	return slices.DeleteFunc(containers, func(c manifest.Container) bool { return c.State != "running" }), err
}
