package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/clara-push/clara-push/pkg/bundle"
	"github.com/clara-push/clara-push/pkg/bundle/signature"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/source"
	"github.com/clara-push/clara-push/pkg/transfer/agentbin"
)

// bundled is what became of a bundle.
type bundled struct {
	bundle.Written
	base   *bundle.Base
	signer string // the key that signed it, for people; empty when nobody did
	binary string // path of the clara-push beside it; empty without
	took   time.Duration
}

// writeOptions are what the flags say about the writing.
func (o bundleOptions) writeOptions(ev manifest.Events) (w bundle.WriteOptions, err error) {
	w = bundle.WriteOptions{
		Application: o.application, Version: o.version, Tool: "clara-push " + versionText(), Platform: manifest.Platform(o.platform),
		Compression: bundle.Compression(o.compression), Recompress: o.recompress, Folder: o.folder, Split: int64(o.split),
		WorkDir: o.cacheDir, Verify: o.reading(), DryRun: o.dryRun, Events: ev,
	}
	if w.Created, err = sourceDate(os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return w, err
	}
	return w, w.Check(o.output)
}

// writeBundle writes the images and models into a bundle. What it returns beside an error is as far as it came.
func writeBundle(ctx context.Context, o bundleOptions, w bundle.WriteOptions, signer *signature.Signer, needs map[string][]string) (b bundled, err error) {
	began := time.Now()
	defer func() { b.took = time.Since(began) }()
	if w.Base, err = o.base(ctx); err != nil {
		return b, err
	}
	b.base = w.Base
	if signer != nil {
		b.signer = signer.String()
		w.Sign = func(ctx context.Context, index []byte) ([]byte, error) {
			return signer.Sign(ctx, bundle.SignatureNamespace, index)
		}
	}
	src, err := openSources(ctx, o, needs, w.Events)
	if err != nil {
		return b, err
	}
	defer src.Close()
	if b.Written, err = bundle.Write(ctx, src, o.output, w); err != nil || o.dryRun || !o.withBinary {
		return b, err
	}
	b.binary, err = placeBinary(b.Written, o)
	return b, err
}

func (o bundleOptions) reading() bundle.Verify {
	switch {
	case o.verify:
		return bundle.VerifyAlways
	case o.noVerify:
		return bundle.VerifyNever
	}
	return bundle.VerifyRemovable
}

// sourceDate reads SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/): seconds since 1970.
func sourceDate(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<33 {
		return time.Time{}, manifest.Fail(manifest.KindUsage, "", "SOURCE_DATE_EPOCH is %.40q, not a number of seconds since 1970", text)
	}
	return time.Unix(n, 0), nil
}

// openSources opens what --image and --model name, as one source.
func openSources(ctx context.Context, o bundleOptions, needs map[string][]string, ev manifest.Events) (*source.Joined, error) {
	var parts []source.Source
	if len(o.models) > 0 {
		models, err := source.OpenModels(ctx, o.models, source.ModelOptions{Config: o.config, CacheDir: o.cacheDir, Events: ev})
		if err != nil {
			return nil, err
		}
		models.Order(needs)
		parts = append(parts, models)
	}
	if len(o.images) > 0 {
		images, err := source.Open(ctx, o.images, source.Options{
			Platform: manifest.Platform(o.platform), Engine: o.engine, CacheDir: o.cacheDir, Events: ev,
		})
		if err != nil {
			return nil, errors.Join(err, source.Join(parts...).Close())
		}
		parts = append(parts, images)
	}
	return source.Join(parts...), nil
}

// base reads what --since or --for names; nil without either.
func (o bundleOptions) base(ctx context.Context) (*bundle.Base, error) {
	switch {
	case o.since != "":
		return openBase(ctx, o.since)
	case o.inventory != "":
		return readInventory(o.inventory)
	}
	return nil, nil
}

// openBase reads what another bundle names. Who signed it does not matter: what it wrongly names, a host would miss and
// say so.
func openBase(ctx context.Context, path string) (*bundle.Base, error) {
	b, err := bundle.Open(ctx, path, bundle.OpenOptions{})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	a, err := b.Artifacts(ctx, manifest.Platform{})
	if err != nil {
		return nil, err
	}
	return bundle.Since(a, b.Digest(), filepath.Base(path)), nil
}

func readInventory(path string) (*bundle.Base, error) {
	step := "read inventory " + path
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, manifest.Fail(manifest.KindNotFound, step, "%w", err).Advise("make it with clara-push check HOST --inventory FILE")
	}
	if err != nil {
		return nil, manifest.Fail(manifest.KindPermission, step, "%w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, bundle.MaxInventory+1))
	if err != nil {
		return nil, manifest.Fail(manifest.KindPermission, step, "%w", err)
	}
	return bundle.For(raw, filepath.Base(path))
}

// placeBinary puts clara-push for the host's platform beside the bundle and returns its path.
func placeBinary(w bundle.Written, o bundleOptions) (string, error) {
	arch := hostArchitecture(w, manifest.Platform(o.platform))
	bin, _, err := agentbin.For("linux", arch)
	if err != nil {
		return "", err
	}
	defer bin.Close()
	path := filepath.Join(filepath.Dir(w.Paths[0]), "clara-push-linux-"+arch)
	if err := writeProgram(path, bin); err != nil {
		return "", manifest.Fail(manifest.KindSpace, "write "+path, "%w", err).
			Advise("the bundle itself is complete; copy clara-push for the host by hand, or leave --with-binary out")
	}
	return path, nil
}

// writeProgram writes a program beside path and renames it.
func writeProgram(path string, bin io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".clara-push-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, bin)
	err = errors.Join(err, f.Chmod(0o755), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// hostArchitecture is what the images are for; without images what --platform says, or this machine's own.
func hostArchitecture(w bundle.Written, asked manifest.Platform) string {
	if len(w.Images) > 0 {
		return w.Images[0].Platform.Architecture
	}
	return cmp.Or(asked.Architecture, runtime.GOARCH)
}
