package source

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// inEngine looks for an image in the local engine and chooses how to read it.
func (f *finder) inEngine(ctx context.Context, name string) (found, error) {
	e, err := f.localEngine(ctx)
	if err != nil {
		return found{}, err
	}
	img, err := e.Image(ctx, name, manifest.Platform{})
	if manifest.KindOf(err) == manifest.KindNotFound {
		return found{}, manifest.Fail(manifest.KindNotFound, "find image "+name, "%s has no such image", e.Describe()).
			Advise("see docker image ls")
	}
	if err != nil {
		return found{}, err
	}
	f.say(name, e.Describe().String()+" at "+e.Address())
	o, err := f.read(ctx, e, img)
	if err != nil {
		return found{}, err
	}
	return found{origin: o, ref: nameOf(name, img)}, nil
}

// localEngine connects to the engine once.
func (f *finder) localEngine(ctx context.Context) (*engine.Engine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.engine == nil && f.failed == nil {
		f.engine, f.failed = engine.Find(ctx, f.o.Engine)
		f.failed = advisedHere(f.failed)
	}
	return f.engine, f.failed
}

// hereNotThere puts what helps with the engine of this machine in the place of what helps with that of a host.
var hereNotThere = strings.NewReplacer("--host-engine", "--engine", manifest.AsRoot, "run sudo clara-push")

func advisedHere(err error) error {
	var f *manifest.Failure
	if !errors.As(err, &f) {
		return err
	}
	return f.Advise("%s", hereNotThere.Replace(f.Hint))
}

// read chooses how the engine gives away an image: blob by blob, or only as a whole.
func (f *finder) read(ctx context.Context, e *engine.Engine, img engine.Image) (origin, error) {
	if e.Describe().Store == manifest.StoreContainerd {
		return openContent(ctx, f, e, img)
	}
	c, err := f.spool()
	if err != nil {
		return nil, err
	}
	return newSaveOrigin(e, img, c, f.o.Events), nil
}

// nameOf is what an image found as name shall be called; empty when it was found by an ID that says nothing.
func nameOf(name string, img engine.Image) string {
	id := strings.TrimPrefix(name, "sha256:")
	if !strings.HasPrefix(strings.TrimPrefix(img.ID, "sha256:"), id) || !isHex(id) {
		return name
	}
	if ref, err := hostRef(name); err == nil && slices.Contains(img.Refs, ref) {
		return name
	}
	if len(img.Refs) == 1 {
		return img.Refs[0]
	}
	return ""
}

func isHex(s string) bool {
	_, err := hex.DecodeString(s + strings.Repeat("0", len(s)%2))
	return err == nil
}
