//go:build linux

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer"
	"github.com/clara-push/clara-push/pkg/transfer/dial"
)

// A shelf is a source of handmade images and models, which may be spoilt.
type shelf struct {
	artifacts manifest.Artifacts
	blobs     map[manifest.Digest][]byte
	opened    func(manifest.Digest) error // called when a blob is opened; may be nil
}

func newShelf(images ...*handmade) *shelf {
	s := &shelf{blobs: map[manifest.Digest][]byte{}}
	for _, i := range images {
		s.artifacts.Images = append(s.artifacts.Images, i.Image)
		for d, raw := range i.blobs {
			s.blobs[d] = raw
		}
	}
	return s
}

// add puts a model of files by path onto the shelf.
func (s *shelf) add(name string, files map[string]string) *shelf {
	m := manifest.Model{Name: name}
	for p, content := range files {
		d := digest.FromString(content)
		s.blobs[d] = []byte(content)
		m.Files = append(m.Files, manifest.File{Path: p, Descriptor: manifest.Descriptor{Digest: d, Size: int64(len(content))}})
		if dir := filepath.Dir(p); dir != "." && !slices.Contains(m.Dirs, dir) {
			m.Dirs = append(m.Dirs, dir)
		}
	}
	slices.SortFunc(m.Files, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(m.Dirs)
	s.artifacts.Models = append(s.artifacts.Models, m)
	return s
}

// of says which release is on the shelf.
func (s *shelf) of(application, version string) *shelf {
	s.artifacts.Provenance = &manifest.Provenance{Bundle: digest.FromString(application + version), Application: application, Version: version, Base: "the base"}
	return s
}

func (s *shelf) Artifacts(context.Context, manifest.Platform) (manifest.Artifacts, error) {
	return s.artifacts, nil
}

func (s *shelf) Open(_ context.Context, d manifest.Descriptor, offset int64) (manifest.BlobReader, error) {
	if s.opened != nil {
		if err := s.opened(d.Digest); err != nil {
			return nil, err
		}
	}
	raw, ok := s.blobs[d.Digest]
	if !ok || slices.Contains(s.artifacts.Lacking, d.Digest) {
		return nil, manifest.Fail(manifest.KindInternal, "open", "blob %s is not on the shelf", d.Digest)
	}
	return shelved{bytes.NewReader(raw[offset:]), int64(len(raw))}, nil
}

func (s *shelf) Close() error { return nil }

type shelved struct {
	io.Reader
	size int64
}

func (s shelved) Size() int64  { return s.size }
func (s shelved) Close() error { return nil }

// A place is an engine and a repository of models, and a way to open them as a target.
type place struct {
	*landing
	t    *testing.T
	repo string
	open func() (transfer.Target, error)
}

// eachTarget runs f on every implementation of transfer.Target and over both kinds of store; at full size in all
// combinations.
func eachTarget(t *testing.T, f func(t *testing.T, p *place)) {
	for n, kind := range []lab.Kind{lab.Docker2010, lab.ModernContainerd} {
		for m, way := range []string{"local", "ssh"} {
			if n != m && !full() {
				continue
			}
			t.Run(string(kind)+" "+way, func(t *testing.T) { f(t, newPlace(t, kind, way)) })
		}
	}
}

func newPlace(t *testing.T, kind lab.Kind, way string) *place {
	t.Helper()
	p := &place{landing: landOn(t, kind), t: t}
	parent, err := os.MkdirTemp(theLab(t).Dir, "clara-")
	must(t, err)
	p.repo = filepath.Join(parent, "models")
	must(t, os.Mkdir(p.repo, 0o755))
	if way == "local" {
		state := filepath.Join(parent, "state")
		p.open = func() (transfer.Target, error) {
			return transfer.OpenLocal(t.Context(), transfer.LocalOptions{StateDir: state, EngineHost: p.engine.Host(), Repository: p.repo, Version: "test"})
		}
		return p
	}
	h := newHostOf(t, p.engine, lab.HostOptions{})
	install(t, program(t), h)
	c := newClient(t, nil, h)
	p.open = func() (transfer.Target, error) {
		return transfer.Dial(t.Context(), "target", transfer.SSHOptions{Dial: dial.Options{ConfigFile: c.sshConfig()}, Repository: p.repo, Version: "test"})
	}
	return p
}

// push pushes by a target of its own, as a run of the program does.
func (p *place) push(s *shelf, o manifest.Options) (transfer.Result, error) {
	p.t.Helper()
	target, err := p.open()
	must(p.t, err)
	defer target.Close()
	return transfer.Push(p.t.Context(), s, target, transfer.Options{Plan: o})
}

// pushed is push that must work.
func (p *place) pushed(s *shelf, o manifest.Options) transfer.Result {
	p.t.Helper()
	r, err := p.push(s, o)
	must(p.t, err)
	for _, w := range r.Receipt.Warnings {
		p.t.Errorf("warning: %s", w)
	}
	return r
}

// holds wants the repository to hold the models of a shelf and nothing else.
func (p *place) holds(s *shelf) {
	p.t.Helper()
	entries, err := os.ReadDir(p.repo)
	if err != nil || len(entries) != len(s.artifacts.Models) {
		p.t.Errorf("the repository holds %v, %v", entries, err)
	}
	for _, m := range s.artifacts.Models {
		for _, f := range m.Files {
			if got, err := os.ReadFile(filepath.Join(p.repo, m.Name, f.Path)); err != nil || digest.FromBytes(got) != f.Digest {
				p.t.Errorf("%s/%s is another one, %v", m.Name, f.Path, err)
			}
		}
	}
}

// all is what names and models there are, in one text. Images that were loaded and not named yet are no part of it.
func (p *place) all() string {
	p.t.Helper()
	refs, err := p.api.Refs(p.t.Context())
	must(p.t, err)
	return fmt.Sprint(refs, sums(p.t, p.repo, true))
}

func TestTargetPushes(t *testing.T) {
	eachTarget(t, func(t *testing.T, p *place) {
		base := p.tarOf(t, 3<<20)
		one, two := makeImage(t, "team/one:1", "gzip", true, base, p.tarOf(t, 1000)), makeImage(t, "two:1", "gzip", true, base, p.tarOf(t, 1000))
		files := map[string]string{"config.pbtxt": "config", "1/w": strings.Repeat("weights", 1<<20), "1/empty": ""}
		s := newShelf(one, two).add("seg", files).add("cls", map[string]string{"config.pbtxt": "config", "1/w": "other"}).of("liver", "1.0")
		r := p.pushed(s, manifest.Options{Keep: 1})
		p.bears(t, one.Ref, one)
		p.bears(t, two.Ref, two)
		p.holds(s)
		if r.Receipt.Path == "" || len(r.Receipt.Images) != 2 || len(r.Receipt.Models) != 2 || r.Receipt.Provenance == nil || r.Receipt.Provenance.Version != "1.0" {
			t.Errorf("receipt %+v", r.Receipt)
		}
		was := p.all()
		if r = p.pushed(s, manifest.Options{Keep: 1}); !r.Plan.Nothing() || r.Receipt.ID != "" {
			t.Errorf("pushed again: %+v", r.Plan.Sizes)
		}
		s.artifacts.Images[1].Ref = "two:2"
		if r = p.pushed(s, manifest.Options{Keep: 1}); r.Plan.Images[1].Action != manifest.ActionTag || r.Plan.Sizes.Send != 0 {
			t.Errorf("another name: %+v", r.Plan.Images[1].Action)
		}
		if now := p.all(); now == was {
			t.Error("the name is not there")
		}
	})
}

func TestTargetRefusesWhatIsLeftOut(t *testing.T) {
	eachTarget(t, func(t *testing.T, p *place) {
		base := p.tarOf(t, 1<<20)
		first := newShelf(makeImage(t, "app:1", "gzip", true, base, p.tarOf(t, 10))).add("m", map[string]string{"config.pbtxt": "one", "1/w": "weights"})
		next := newShelf(makeImage(t, "app:1", "gzip", true, base, p.tarOf(t, 20))).add("m", map[string]string{"config.pbtxt": "two", "1/w": "weights"}).of("liver", "2.0")
		next.artifacts.Lacking = []manifest.Digest{next.artifacts.Images[0].Layers[0].Digest, digest.FromString("weights")}
		was := p.all()
		_, err := p.push(next, manifest.Options{})
		if manifest.KindOf(err) != manifest.KindNotFound || !strings.Contains(err.Error(), "the base") {
			t.Errorf("it says %v", err)
		}
		if now := p.all(); now != was {
			t.Errorf("changed from\n%s\nto\n%s", was, now)
		}
		p.pushed(first, manifest.Options{})
		p.pushed(next, manifest.Options{})
		p.holds(next)
	})
}

// Whatever ends a push before the commit point, the place is as it was, and the next push works.
func TestTargetFailsUnchanged(t *testing.T) {
	gone := errors.New("the stick is gone")
	blobs := map[string]func(*shelf) manifest.Digest{
		"layer":  func(s *shelf) manifest.Digest { return s.artifacts.Images[0].Layers[1].Digest },
		"config": func(s *shelf) manifest.Digest { return s.artifacts.Images[0].Config.Digest },
		"file":   func(s *shelf) manifest.Digest { return s.artifacts.Models[0].Files[0].Digest },
	}
	spoilers := []struct {
		name  string
		want  manifest.Kind
		spoil func(s *shelf, blob manifest.Digest, cancel func())
	}{
		{"damaged", manifest.KindIntegrity, func(s *shelf, blob manifest.Digest, _ func()) { s.blobs[blob] = flipped(s.blobs[blob]) }},
		{"gone", manifest.KindIntegrity, func(s *shelf, blob manifest.Digest, _ func()) {
			s.opened = failing(blob, func() error { return manifest.Fail(manifest.KindIntegrity, "read", "%w", gone) })
		}},
		{"interrupted", manifest.KindInterrupted, func(s *shelf, blob manifest.Digest, cancel func()) {
			s.opened = failing(blob, func() error {
				time.Sleep(300 * time.Millisecond) // everything that was sent before has landed
				cancel()
				time.Sleep(50 * time.Millisecond)
				return nil
			})
		}},
	}
	eachTarget(t, func(t *testing.T, p *place) {
		for what, blobOf := range blobs {
			for _, c := range spoilers {
				t.Run(what+" "+c.name, func(t *testing.T) {
					fresh := func() *shelf { // so that nothing is in the stage yet
						img := makeImage(t, "app:1", "gzip", true, p.tarOf(t, 3<<20), p.tarOf(t, 10))
						return newShelf(img).add("m", map[string]string{"1/w": strings.Repeat(fmt.Sprint("weights", lastSeed), 1<<20), "config.pbtxt": "one"})
					}
					s, was := fresh(), p.all()
					good := shelf{artifacts: s.artifacts, blobs: maps.Clone(s.blobs)}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					c.spoil(s, blobOf(s), cancel)
					target, err := p.open()
					must(t, err)
					_, err = transfer.Push(ctx, s, target, transfer.Options{})
					target.Close()
					if manifest.KindOf(err) != c.want {
						t.Errorf("it says %q %v", manifest.KindOf(err), err)
					}
					if now := p.all(); now != was {
						t.Errorf("changed from\n%s\nto\n%s", was, now)
					}
					p.pushed(&good, manifest.Options{})
					p.holds(&good)
				})
			}
		}
	})
}

func flipped(raw []byte) []byte {
	raw = slices.Clone(raw)
	raw[len(raw)/2] ^= 1
	return raw
}

func failing(blob manifest.Digest, fail func() error) func(manifest.Digest) error {
	return func(d manifest.Digest) error {
		if d == blob {
			return fail()
		}
		return nil
	}
}
