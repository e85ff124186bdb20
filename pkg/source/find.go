package source

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/clara-push/clara-push/pkg/cache"
	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/distribution/reference"
)

// finder looks for images and holds what several of them share: the engine and the cache.
type finder struct {
	o Options

	mu     sync.Mutex
	engine *engine.Engine
	failed error // why there is no engine
	cache  *cache.Cache
}

// found is an image and the name that it was asked for by; ref is empty where the origin must tell the name.
type found struct {
	origin origin
	ref    string
}

// find looks for one image where its name says, or everywhere.
func (f *finder) find(ctx context.Context, name string) (found, error) {
	where, rest := placeOf(name)
	switch where {
	case inEngine:
		return f.inEngine(ctx, rest)
	case inRegistry:
		return f.inRegistry(ctx, rest)
	case inArchive, inLayout, inPath:
		return f.inPath(ctx, where, rest)
	}
	return f.search(ctx, name)
}

// search looks in the engine, in the file system, in the registry.
func (f *finder) search(ctx context.Context, name string) (found, error) {
	got, inEngine := f.inEngine(ctx, name)
	if inEngine == nil {
		return got, nil
	}
	if ctx.Err() != nil {
		return found{}, inEngine
	}
	inFiles := manifest.Fail(manifest.KindNotFound, "", "nothing of that name")
	if path, _ := splitPath(name); exists(path) {
		got, err := f.inPath(ctx, inPath, name)
		if err == nil {
			return got, nil
		}
		if manifest.KindOf(err) != manifest.KindMalformed {
			return found{}, err
		}
		inFiles = manifest.Fail(manifest.KindNotFound, "", "%w", reason(err))
	}
	got, inRegistry := f.inRegistry(ctx, name)
	if inRegistry == nil || ctx.Err() != nil {
		return got, inRegistry
	}
	return found{}, nowhere(name, inEngine, inFiles, inRegistry)
}

// nowhere sums up where a name was looked for. The kind is that of the place that should have had it and could not be
// asked; KindNotFound when all could.
func nowhere(name string, inEngine, inFiles, inRegistry error) error {
	kind, hint := manifest.KindNotFound, "see docker image ls; engine://, registry:// and archive: name the place to look"
	switch asked := registryKnown(name); {
	case manifest.KindOf(inEngine) == manifest.KindEngine && !valid(name):
		kind, hint = manifest.KindUsage, "names of images are in lower case, as docker image ls shows them; the host comes last: clara-push image IMAGE... HOST"
	case manifest.KindOf(inEngine) != manifest.KindNotFound && !asked:
		kind, hint = manifest.KindOf(inEngine), cmp.Or(hintOf(inEngine), hint)
	case asked && manifest.KindOf(inRegistry) != manifest.KindNotFound:
		kind, hint = manifest.KindOf(inRegistry), cmp.Or(hintOf(inRegistry), hint)
	}
	return manifest.Fail(kind, "find image "+name, "it is not in the engine (%w), not in a file (%w), not in a registry (%w)", reason(inEngine), reason(inFiles), reason(inRegistry)).
		Advise("%s", hint)
}

// valid reports whether name is one that an engine may know.
func valid(name string) bool {
	_, err := reference.ParseNormalizedNamed(name)
	return err == nil
}

// registryKnown reports whether a name says itself in which registry it is. "app" means Docker Hub only for want of
// anything better, and Docker Hub refuses access to what it does not have.
func registryKnown(name string) bool {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false
	}
	return strings.HasPrefix(name, reference.Domain(named)+"/")
}

// reason is a failure without the step, which would repeat the name.
func reason(err error) error {
	var f *manifest.Failure
	if errors.As(err, &f) {
		return f.Err
	}
	return err
}

func hintOf(err error) string {
	var f *manifest.Failure
	if errors.As(err, &f) {
		return f.Hint
	}
	return ""
}

func (f *finder) inRegistry(ctx context.Context, ref string) (found, error) {
	o, err := openRegistry(ctx, ref)
	if err != nil {
		return found{}, err
	}
	f.say(ref, "registry "+o.ref.Context().RegistryStr())
	if _, err := hostRef(ref); err != nil {
		ref = "" // a digest is no name
	}
	return found{origin: o, ref: ref}, nil
}

func (f *finder) inPath(ctx context.Context, where place, name string) (found, error) {
	path, ref := splitPath(name)
	info, err := os.Stat(home(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return found{}, manifest.Fail(manifest.KindNotFound, "find image", "there is no file or folder %s", path)
	case err != nil:
		return found{}, manifest.Fail(manifest.KindPermission, "find image", "%w", err)
	case where == inArchive && info.IsDir():
		return found{}, manifest.Fail(manifest.KindUsage, "find image", "%s is a folder", path).Advise("layout:%s reads an OCI layout", path)
	case where == inLayout && !info.IsDir():
		return found{}, manifest.Fail(manifest.KindUsage, "find image", "%s is not a folder", path).Advise("archive:%s reads an archive", path)
	case !info.IsDir() && !info.Mode().IsRegular():
		return found{}, manifest.Fail(manifest.KindUsage, "find image", "%s is neither a file nor a folder", path)
	}
	o, err := f.openPath(ctx, path, ref, info.IsDir())
	if err != nil {
		return found{}, about(err, path)
	}
	f.say(name, o.kind()+" "+path)
	return found{origin: o}, nil
}

func (f *finder) openPath(ctx context.Context, path, ref string, isDir bool) (*layoutOrigin, error) {
	var in files
	var err error
	if isDir {
		in, err = openFolder(home(path))
	} else {
		in, err = openTar(ctx, home(path), f.spool)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, manifest.Fail(manifest.KindPermission, "read", "%w", err)
	}
	if err != nil {
		return nil, err
	}
	o, err := openLayout(in, path, ref)
	if err != nil {
		return nil, errors.Join(err, in.close())
	}
	return o, nil
}

// spool opens the cache when it is first needed.
func (f *finder) spool() (*cache.Cache, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cache != nil {
		return f.cache, nil
	}
	c, err := cache.Open(f.o.CacheDir, layersRoom)
	if err == nil {
		f.cache = c
	}
	return c, err
}

func (f *finder) say(ref, where string) {
	f.o.Events.Say(manifest.StepPlan, ref, "found in "+where)
}

func (f *finder) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var err error
	if f.engine != nil {
		err = f.engine.Close()
	}
	if f.cache != nil {
		f.cache.Close()
	}
	return err
}
