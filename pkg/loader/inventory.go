//go:build linux

package loader

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// Inventory tells what this host has of what q asks about. Nothing is remembered between calls. Whatever cannot be
// learned is left out or UnknownSize, so that a plan made from it sends too much rather than too little.
func (h *Host) Inventory(ctx context.Context, q manifest.Query) (manifest.Inventory, error) {
	inv := manifest.Inventory{
		Agent: h.tool, Name: hostName(), User: userName(), Clock: time.Now().UTC(), Engine: h.Engine(), Stage: h.stage.Space(),
	}
	if q.Application != "" {
		past, err := h.history()
		if err != nil {
			return inv, err
		}
		inv.Releases = slices.DeleteFunc(past.releases(), func(r manifest.Release) bool { return r.Application != manifest.Plain(q.Application) })
	}
	if h.engine != nil {
		if err := h.inventoryImages(ctx, &inv, q); err != nil {
			return inv, err
		}
	}
	inv.Warnings = append(inv.Warnings, h.heard()...)
	if h.models == nil || q.Models == nil {
		return inv, nil
	}
	var err error
	inv.Repository, err = h.models.inventory(ctx, *q.Models)
	return inv, err
}

func (h *Host) inventoryImages(ctx context.Context, inv *manifest.Inventory, q manifest.Query) error {
	inv.Data, inv.Warnings = h.dataSpace(), kubeletWarnings("/", h.engine.Describe())
	images, err := h.engine.Images(ctx)
	if err != nil {
		return err
	}
	if inv.Images, err = h.asked(ctx, images, q); err != nil {
		return err
	}
	switch inv.Engine.Store {
	case manifest.StoreGraphdriver:
		inv.Chains = chainsOf(images, q)
	case manifest.StorePodman:
		inv.Blobs = layersOf(images, q)
	case manifest.StoreContainerd:
		if inv.Blobs, err = h.blobsOf(ctx, images, q); err != nil {
			return err
		}
	}
	if inv.Users, err = h.users(ctx, inv.Images, q.Refs); err != nil {
		return err
	}
	inv.Staged, err = h.stage.Report(q.Blobs)
	return err
}

// asked describes the images that q names by ref or config.
func (h *Host) asked(ctx context.Context, images []engine.Image, q manifest.Query) ([]manifest.HostImage, error) {
	var found []manifest.HostImage
	for _, i := range images {
		named := slices.ContainsFunc(i.Refs, func(r string) bool { return slices.Contains(q.Refs, r) })
		if !q.All && !named && !slices.Contains(q.Configs, i.Config.Digest) {
			continue
		}
		whole, err := h.engine.Image(ctx, i.ID, manifest.Platform{})
		switch kind := manifest.KindOf(err); {
		case err == nil:
			whole.Refs = i.Refs
		case kind == manifest.KindNotFound || kind == manifest.KindMalformed || kind == manifest.KindIntegrity:
			whole = i // broken, or gone this moment: it must not pass for a whole one
			whole.Missing = []manifest.Digest{manifest.Digest(i.ID)}
		default:
			return nil, err
		}
		found = append(found, hostImage(whole))
	}
	return found, nil
}

func hostImage(i engine.Image) manifest.HostImage {
	return manifest.HostImage{
		ID: i.ID, Config: i.Config.Digest, Manifest: i.Manifest.Digest, DiffIDs: i.DiffIDs, Refs: i.Refs, Missing: i.Missing,
	}
}

// chainsOf lists the chain IDs that a graphdriver store has by the images it shows.
func chainsOf(images []engine.Image, q manifest.Query) []manifest.Digest {
	asked := map[manifest.Digest]bool{}
	for _, ids := range q.DiffIDs {
		for _, c := range manifest.ChainIDs(ids) {
			asked[c] = true
		}
	}
	var chains []manifest.Digest
	for _, i := range images {
		for _, c := range manifest.ChainIDs(i.DiffIDs) {
			if q.All || asked[c] {
				chains = append(chains, c)
			}
		}
	}
	slices.Sort(chains)
	return slices.Compact(chains)
}

// users lists the containers whose image bears one of refs now.
func (h *Host) users(ctx context.Context, images []manifest.HostImage, refs []string) ([]manifest.Container, error) {
	containers, err := h.engine.Containers(ctx)
	if err != nil {
		return nil, err
	}
	bears := func(c manifest.Container) bool {
		return slices.ContainsFunc(images, func(i manifest.HostImage) bool {
			return i.ID == c.Image && slices.ContainsFunc(i.Refs, func(r string) bool { return slices.Contains(refs, r) })
		})
	}
	return slices.DeleteFunc(containers, func(c manifest.Container) bool { return !bears(c) }), nil
}

// dataSpace is the room in the engine's data folder. An engine reached over TCP keeps its data elsewhere.
func (h *Host) dataSpace() manifest.Space {
	root := h.engine.Describe().Root
	if root == "" || !h.engine.Local() {
		return manifest.Space{Free: manifest.UnknownSize, Inodes: manifest.UnknownSize}
	}
	return spaceAt(root)
}

// unreadable reports whether err says that path is not there or not ours to read.
func unreadable(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission)
}
