package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer"
	"github.com/clara-push/clara-push/pkg/triton"
)

// maxConfig caps a config.pbtxt that is read out of a bundle, in bytes.
const maxConfig = 4 << 20

// servedFrom tells what is served of a model that came in a bundle: by its configuration and its version folders, which are
// put into a folder for that, without the weights.
func servedFrom(src transfer.Source) func(context.Context, manifest.ModelPlan) ([]int64, error) {
	return func(ctx context.Context, m manifest.ModelPlan) ([]int64, error) {
		dir, err := os.MkdirTemp("", "clara-push-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		if err := skeleton(ctx, dir, m.Model, src); err != nil {
			return nil, err
		}
		return triton.Served(ctx, dir, triton.Options{Name: m.Model.Name}, nil)
	}
}

// skeleton makes the folders of a model and its configuration in dir.
func skeleton(ctx context.Context, dir string, m manifest.Model, src transfer.Source) error {
	for _, d := range m.Dirs {
		if err := manifest.CheckFilePath(d); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(d)), 0o700); err != nil {
			return err
		}
	}
	i := slices.IndexFunc(m.Files, func(f manifest.File) bool { return f.Path == "config.pbtxt" })
	if i < 0 {
		return nil
	}
	r, err := src.Open(ctx, m.Files[i].Descriptor, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, maxConfig))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.pbtxt"), raw, 0o600)
}
