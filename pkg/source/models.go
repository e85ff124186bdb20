package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// ModelOptions say how model directories are read. The zero value works.
type ModelOptions struct {
	// Config is a file that takes the place of config.pbtxt. Only for a single model.
	Config string
	// CacheDir remembers digests from one push to the next; empty is clara-push in the user's cache folder.
	CacheDir string
	// Events hears what takes long; nil is silent.
	Events manifest.Events
}

// Models is what one push of models brings. Its methods may be called from several goroutines.
type Models struct {
	models []manifest.Model
	files  map[manifest.Digest]modelFile // one place for each content
	cache  *digests
	paths  []string // of all files, as cache knows them
}

// modelFile is where a file's bytes are, and how it looked when it was hashed.
type modelFile struct {
	path string
	look look
}

// OpenModels reads the model directories. Every file is hashed unless its digest is remembered. Symbolic links are
// followed inside a model directory; one that leads out of it, or anything that is neither file nor directory, is a failure
// of KindModel that names it.
func OpenModels(ctx context.Context, dirs []string, o ModelOptions) (*Models, error) {
	if o.Config != "" && len(dirs) != 1 {
		return nil, manifest.Fail(manifest.KindUsage, "read models", "--config belongs to one model, but %d are given", len(dirs)).
			Advise("push them one by one")
	}
	cache := openDigests(o.CacheDir)
	m := &Models{files: map[manifest.Digest]modelFile{}, cache: cache}
	named := map[string]string{}
	for _, dir := range dirs {
		model, err := m.read(ctx, dir, o, cache)
		if err != nil {
			return nil, err
		}
		if other, twice := named[model.Name]; twice {
			return nil, manifest.Fail(manifest.KindUsage, "read models", "%s and %s would both be the model %s", other, dir, model.Name)
		}
		named[model.Name] = dir
		m.models = append(m.models, model)
	}
	return m, cache.save()
}

// read describes one model directory.
func (m *Models) read(ctx context.Context, dir string, o ModelOptions, cache *digests) (manifest.Model, error) {
	root, err := filepath.Abs(dir)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return manifest.Model{}, readFailure(dir, err)
	}
	model := manifest.Model{Name: nameOfModel(dir), Origin: dir}
	if err := manifest.CheckModelName(model.Name); err != nil {
		return model, err
	}
	w := &walker{root: root, found: map[string]string{}}
	if err := w.walk(root, "", 0); err != nil {
		return model, readFailure(dir, err)
	}
	if o.Config != "" {
		if slices.Contains(w.dirs, "config.pbtxt") {
			return model, manifest.Fail(manifest.KindModel, "read model", "a directory is where the configuration %s would go", o.Config).Advise("remove it")
		}
		w.found["config.pbtxt"] = o.Config
	}
	model.Dirs = w.dirs
	model.Files, err = m.hashAll(ctx, w.found, cache)
	return model, readFailure(dir, err)
}

// nameOfModel is the last element of the path as the user wrote it: a link's own name counts, as it does for Triton.
func nameOfModel(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return filepath.Base(abs)
	}
	return filepath.Base(dir)
}

// walker collects the tree of a model directory.
type walker struct {
	root  string
	dirs  []string
	found map[string]string // real path of each file by its slash path in the model
}

// maxDepth ends circles of links.
const maxDepth = 64

func (w *walker) walk(real, below string, depth int) error {
	if depth > maxDepth {
		return manifest.Fail(manifest.KindModel, "read model", "the folders are nested too deeply, or links make a circle: %s", below)
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return err
	}
	for _, e := range entries {
		at := filepath.ToSlash(filepath.Join(below, e.Name()))
		if err := manifest.CheckFilePath(at); err != nil {
			return err
		}
		if err := w.entry(filepath.Join(real, e.Name()), at, e, depth); err != nil {
			return err
		}
	}
	return nil
}

// entry notes one entry of the folder; links are followed.
func (w *walker) entry(path, at string, e fs.DirEntry, depth int) error {
	if len(w.dirs)+len(w.found) > manifest.MaxModelFiles {
		return manifest.Fail(manifest.KindModel, "read model", "it has more than %d files", manifest.MaxModelFiles)
	}
	if e.Type() != fs.ModeSymlink {
		return w.note(path, at, e.Type(), depth)
	}
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return manifest.Fail(manifest.KindModel, "read model", "%s is a link to nothing", at).Advise("remove it, or put the file in its place")
	}
	if err != nil {
		return err
	}
	if real != w.root && !strings.HasPrefix(real, w.root+string(filepath.Separator)) {
		return manifest.Fail(manifest.KindModel, "read model", "%s is a link that leads out of the model directory, to %s", at, real).
			Advise("put the file itself there")
	}
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	return w.note(real, at, info.Mode().Type(), depth)
}

func (w *walker) note(real, at string, kind fs.FileMode, depth int) error {
	switch {
	case kind.IsDir():
		w.dirs = append(w.dirs, at)
		return w.walk(real, at, depth+1)
	case kind.IsRegular():
		w.found[at] = real
		return nil
	}
	return manifest.Fail(manifest.KindModel, "read model", "%s is neither a file nor a folder (%s)", at, kind).Advise("remove it")
}

// hashAll describes the files, hashing several at once.
func (m *Models) hashAll(ctx context.Context, found map[string]string, cache *digests) ([]manifest.File, error) {
	paths := make([]string, 0, len(found))
	for p, real := range found {
		paths = append(paths, p)
		m.paths = append(m.paths, real)
	}
	slices.Sort(paths)
	files := make([]manifest.File, len(paths))
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for i, p := range paths {
		g.Go(func() error {
			d, look, err := cache.digest(ctx, found[p])
			if err != nil {
				return err
			}
			files[i] = manifest.File{Path: p, Descriptor: manifest.Descriptor{Digest: d, Size: look.Size}}
			mu.Lock()
			defer mu.Unlock()
			m.files[d] = modelFile{found[p], look}
			return nil
		})
	}
	return files, g.Wait()
}

// Artifacts implements what a push asks of a source. Models are the same for every platform.
func (m *Models) Artifacts(context.Context, manifest.Platform) (manifest.Artifacts, error) {
	return manifest.Artifacts{Models: m.models}, nil
}

// Order says which models must be placed before which: the steps of each ensemble.
func (m *Models) Order(after map[string][]string) {
	for i := range m.models {
		m.models[i].After = after[m.models[i].Name]
	}
}

// Open reads a file of the models. A file that is no longer what it was when it was hashed is a failure of KindIntegrity.
func (m *Models) Open(_ context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error) {
	from, ok := m.files[d.Digest]
	if !ok {
		return nil, manifest.Fail(manifest.KindInternal, "read model", "no model of this push has the file %.80q", string(d.Digest))
	}
	f, err := os.Open(from.path)
	if err != nil {
		return nil, readFailure(from.path, err)
	}
	r := &modelReader{f: f, from: from, left: from.look.Size - offset}
	if d.Size > manifest.SmallFile { // of a small one it is soon enough at the end
		err = r.unchanged()
	}
	if err == nil && offset > 0 {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, readFailure(from.path, err)
	}
	return r, nil
}

// Distrust forgets the digests that are remembered of the files, so that they are hashed anew next time: after a host found
// that one is not what it was said to be.
func (m *Models) Distrust() {
	for _, p := range m.paths {
		m.cache.forget(p)
	}
	_ = m.cache.save() // no reason to fail, as ever
}

// Close does nothing: no file stays open.
func (m *Models) Close() error { return nil }

// modelReader reads a file and notices when it changes meanwhile.
type modelReader struct {
	f    *os.File
	from modelFile
	left int64 // bytes of the file that was hashed which were not read yet
}

// Size is the size of the whole file in bytes.
func (r *modelReader) Size() int64 { return r.from.look.Size }

// Close closes the file.
func (r *modelReader) Close() error { return r.f.Close() }

// Read implements io.Reader. At the end, and beyond it, it looks whether the file is still the one that was hashed.
func (r *modelReader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	r.left -= int64(n)
	if err == io.EOF || r.left < 0 {
		if changed := r.unchanged(); changed != nil {
			return n, changed
		}
	}
	return n, err
}

func (r *modelReader) unchanged() error {
	info, err := r.f.Stat()
	if err != nil {
		return readFailure(r.from.path, err)
	}
	if lookOf(info) != r.from.look {
		return manifest.Fail(manifest.KindIntegrity, "read model", "%s changed while it was being pushed", r.from.path).
			Advise("wait until whatever writes it is done, then push again")
	}
	return nil
}

// hashBuffers are shared: a model may have ten thousand small files.
var hashBuffers = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}

// hashFile returns a file's digest and how it looked; both belong together, or it fails.
func hashFile(ctx context.Context, path string) (manifest.Digest, look, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", look{}, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return "", look{}, err
	}
	h := sha256.New()
	buf := hashBuffers.Get().(*[]byte)
	defer hashBuffers.Put(buf)
	for {
		if err := ctx.Err(); err != nil {
			return "", look{}, err
		}
		n, err := f.Read(*buf)
		h.Write((*buf)[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", look{}, err
		}
	}
	after, err := f.Stat()
	if err != nil {
		return "", look{}, err
	}
	if lookOf(before) != lookOf(after) {
		return "", look{}, manifest.Fail(manifest.KindIntegrity, "read model", "%s changed while it was being read", path).
			Advise("wait until whatever writes it is done, then push again")
	}
	return manifest.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))), lookOf(before), nil
}

// readFailure types an error of the file system here; nil stays nil.
func readFailure(path string, err error) error {
	var f *manifest.Failure
	switch {
	case err == nil, errors.As(err, &f), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return manifest.Fail(manifest.KindNotFound, "read model "+path, "%w", err).Advise("name a folder that holds config.pbtxt and version folders")
	case errors.Is(err, fs.ErrPermission):
		return manifest.Fail(manifest.KindPermission, "read model "+path, "%w", err).Advise("make it readable, or run as its owner")
	}
	return manifest.Fail(manifest.KindInternal, "read model "+path, "%w", err)
}
