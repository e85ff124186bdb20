package engine

import (
	"context"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Tag gives the image id the name ref; another image that bears it loses it.
func (e *Engine) Tag(ctx context.Context, id, ref string) error {
	if _, err := e.cli.ImageTag(ctx, client.ImageTagOptions{Source: id, Target: e.exact(ref)}); err != nil {
		return e.failed("tag "+ref, err)
	}
	return nil
}

// Untag takes the name ref away. An image that loses its last name so, and that no container uses, goes with it; its
// parents stay.
func (e *Engine) Untag(ctx context.Context, ref string) error { return e.remove(ctx, ref) }

// Remove deletes the image id. The engine refuses that for one with several names or a container.
func (e *Engine) Remove(ctx context.Context, id string) error { return e.remove(ctx, id) }

func (e *Engine) remove(ctx context.Context, name string) error {
	if _, err := e.cli.ImageRemove(ctx, e.exact(name), client.ImageRemoveOptions{PruneChildren: false}); err != nil {
		return e.failed("remove "+name, err)
	}
	return nil
}

// TryCreate proves that a container can be made of the image id, and removes it again with its volumes. Nothing of it
// runs. p is named to the engine only where it is not the engine's own platform.
func (e *Engine) TryCreate(ctx context.Context, id string, p manifest.Platform) error {
	opts := client.ContainerCreateOptions{
		Config: &container.Config{
			Image: id, Cmd: []string{proofCommand}, Entrypoint: []string{}, NetworkDisabled: true,
			Labels: map[string]string{proofLabel: "proof"},
		},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	}
	if own := e.about.Platform; p.OS != "" && (p.OS != own.OS || p.Architecture != own.Architecture) && e.atLeast(1, 41) {
		opts.Platform = &p
	}
	made, err := e.cli.ContainerCreate(ctx, opts)
	if err != nil {
		return e.failed("create a container", err)
	}
	return e.removeProof(context.WithoutCancel(ctx), made.ID) // never leave it behind
}

// What marks the containers that TryCreate makes.
const (
	proofLabel   = "clara-push"
	proofCommand = "clara-push-proof"
)

// RemoveProofs removes the containers that TryCreate left behind when its process, or the engine, was killed.
func (e *Engine) RemoveProofs(ctx context.Context) error {
	marked := make(client.Filters).Add("label", proofLabel+"=proof")
	list, err := e.cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: marked})
	if err != nil {
		return e.failed("list containers", err)
	}
	for _, c := range list.Items {
		if !isProof(c) {
			continue
		}
		if err := e.removeProof(ctx, c.ID); err != nil {
			return err
		}
	}
	return nil
}

// isProof tells a container of TryCreate from others that bear its label, which they may have from their image.
func isProof(c container.Summary) bool {
	switch c.State {
	case container.StateCreated, container.StateRemoving, container.StateDead: // those that never ran
		return c.Command == proofCommand
	}
	return false
}

// removeProof removes a container with its volumes. That it is gone already is no error.
func (e *Engine) removeProof(ctx context.Context, id string) error {
	_, err := e.cli.ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: true, Force: true})
	if err != nil && !cerrdefs.IsNotFound(err) {
		return e.failed("remove the container made for the proof", err)
	}
	return nil
}

// Containers lists all containers, running or not. Image is the ID of the image that each was made of.
func (e *Engine) Containers(ctx context.Context) ([]manifest.Container, error) {
	list, err := e.cli.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, e.failed("list containers", err)
	}
	containers := make([]manifest.Container, len(list.Items))
	for n, c := range list.Items {
		containers[n] = manifest.Container{ID: c.ID, Image: c.ImageID, State: string(c.State)}
		if len(c.Names) > 0 {
			containers[n].Name = manifest.Plain(strings.TrimPrefix(c.Names[0], "/"))
		}
	}
	return containers, nil
}
