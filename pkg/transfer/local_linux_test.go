package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// heldModel is a source that holds one model.
type heldModel struct {
	artifacts manifest.Artifacts
	blobs     map[manifest.Digest]string
	open      func(manifest.Digest) error // called before a blob is opened; may be nil
}

// modelIn makes a source of the model m of files by path.
func modelIn(files map[string]string) *heldModel {
	s := &heldModel{blobs: map[manifest.Digest]string{}}
	m := manifest.Model{Name: "m", Dirs: []string{"1"}}
	for p, content := range files {
		d := digest.FromString(content)
		s.blobs[d] = content
		m.Files = append(m.Files, manifest.File{Path: p, Descriptor: manifest.Descriptor{Digest: d, Size: int64(len(content))}})
	}
	s.artifacts.Models = []manifest.Model{m}
	return s
}

type blob struct {
	*bytes.Reader
	size int64
}

func (b blob) Size() int64  { return b.size }
func (b blob) Close() error { return nil }

func (s *heldModel) Artifacts(context.Context, manifest.Platform) (manifest.Artifacts, error) {
	return s.artifacts, nil
}

func (s *heldModel) Open(_ context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error) {
	if s.open != nil {
		if err := s.open(d.Digest); err != nil {
			return nil, err
		}
	}
	raw, ok := s.blobs[d.Digest]
	if !ok {
		return nil, manifest.Fail(manifest.KindInternal, "open", "no blob %s", d.Digest)
	}
	r := bytes.NewReader([]byte(raw))
	_, err := r.Seek(offset, io.SeekStart)
	return blob{r, int64(len(raw))}, err
}

func (s *heldModel) Close() error { return nil }

// newLocal opens this machine with a state folder and a repository of its own, and without an engine.
func newLocal(t *testing.T, dir string) *Local {
	t.Helper()
	repo := filepath.Join(dir, "models")
	if err := os.MkdirAll(repo, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLocal(t.Context(), LocalOptions{NoEngine: true, StateDir: filepath.Join(dir, "state"), Repository: repo})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestLocalPlacesModels(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"config.pbtxt": "config", "labels.txt": "", "1/big.bin": strings.Repeat("0123456789", 600_000), "1/small.bin": "small",
		"1/other.bin": strings.Repeat("x", int(manifest.SmallFile)+1),
	}
	src, l := modelIn(files), newLocal(t, dir)
	src.artifacts.Provenance = &manifest.Provenance{Bundle: digest.FromString("index"), Application: "liver\x1b", Version: "1.0"}
	var done, total int64
	watch := func(e manifest.Event) {
		if e.Step == manifest.StepSend {
			done, total = e.Done, e.Total
		}
	}
	r, err := Push(t.Context(), src, l, Options{Events: watch})
	if err != nil {
		t.Fatal(err)
	}
	for p, content := range files {
		if got, err := os.ReadFile(filepath.Join(dir, "models", "m", p)); err != nil || string(got) != content {
			t.Errorf("%s holds %d bytes, %v; want %d", p, len(got), err, len(content))
		}
	}
	if want := r.Plan.Sizes.Send; done != want || total != want {
		t.Errorf("it told %d of %d bytes, %d were to be read", done, total, want)
	}
	if p := r.Receipt.Provenance; p == nil || p.Application != "liver " || p.Version != "1.0" || r.Receipt.Path == "" {
		t.Errorf("receipt %+v, from %+v", r.Receipt, p)
	}
	m := r.Receipt.Models[0]
	if m.Before != "" || m.After != manifest.TreeDigest(src.artifacts.Models[0].Files, src.artifacts.Models[0].Dirs) {
		t.Errorf("the receipt says %+v", m)
	}
	if r, err = Push(t.Context(), src, l, Options{}); err != nil || !r.Plan.Nothing() || r.Receipt.ID != "" {
		t.Errorf("pushed again: %+v, %v", r.Plan, err)
	}
	src.artifacts.Provenance.Version = "1.1" // the same in a newer bundle: that is remembered
	if r, err = Push(t.Context(), src, l, Options{}); err != nil || !r.Plan.Nothing() || r.Receipt.Path == "" {
		t.Errorf("a newer bundle: %+v, %v", r.Receipt, err)
	}
	src.artifacts.Provenance.Version = "1.0"
	if _, err = Push(t.Context(), src, l, Options{}); manifest.KindOf(err) != manifest.KindPolicy {
		t.Errorf("the older one again: %v", err)
	}
}

// Whatever stops a load before its commit point, nothing has changed, and the first reason is told.
func TestLocalFails(t *testing.T) {
	broken := errors.New("the stick is gone")
	for _, tt := range []struct {
		name string
		open func(cancel func()) error
		kind manifest.Kind
		says string
	}{
		{"interrupted", func(cancel func()) error { cancel(); return nil }, manifest.KindInterrupted, "unchanged"},
		{"source fails", func(func()) error { return manifest.Fail(manifest.KindIntegrity, "read", "%w", broken) }, manifest.KindIntegrity, broken.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			src, l := modelIn(map[string]string{"config.pbtxt": "config", "1/big.bin": strings.Repeat("x", 5<<20)}), newLocal(t, dir)
			src.open = func(d manifest.Digest) error {
				if d == digest.FromString("config") {
					return nil
				}
				err := tt.open(cancel)
				<-time.After(20 * time.Millisecond)
				return err
			}
			_, err := Push(ctx, src, l, Options{})
			if manifest.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("it says %v", err)
			}
			if left, err := os.ReadDir(filepath.Join(dir, "models")); err != nil || len(left) > 0 {
				t.Errorf("the repository holds %v, %v", left, err)
			}
			src.open = nil
			if _, err := Push(t.Context(), src, l, Options{}); err != nil {
				t.Errorf("the next one: %v", err)
			}
		})
	}
}

func TestLocalIsLocked(t *testing.T) {
	dir := t.TempDir()
	src, l := modelIn(map[string]string{"config.pbtxt": "config"}), newLocal(t, dir)
	if err := l.acquire(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	other := newLocal(t, dir)
	if _, err := Push(t.Context(), src, other, Options{}); manifest.KindOf(err) != manifest.KindLocked {
		t.Errorf("it says %v", err)
	}
	l.Close()
	if _, err := Push(t.Context(), src, other, Options{}); err != nil {
		t.Errorf("after the other has ended: %v", err)
	}
}
