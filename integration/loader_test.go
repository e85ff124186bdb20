//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/loader"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// landing is one engine with a loader on it.
type landing struct {
	engine *lab.Engine
	api    *engine.Engine
	host   *loader.Host
	store  manifest.Store
}

// landingEngines are engines that only the tests of this file use: they compare everything that an engine has.
var landingEngines = map[lab.Kind]*lab.Engine{}

// eachEngine runs f as a subtest on every kind of engine.
func eachEngine(t *testing.T, f func(t *testing.T, l *landing)) {
	for _, kind := range append(slices.Clone(lab.Dockers), lab.Podman) {
		t.Run(string(kind), func(t *testing.T) { f(t, landOn(t, kind)) })
	}
}

func landOn(t *testing.T, kind lab.Kind) *landing {
	t.Helper()
	lab.Need(t, kind)
	if landingEngines[kind] == nil {
		e, err := theLab(t).Engine(context.Background(), kind, lab.EngineOptions{})
		lab.Skip(t, err)
		landingEngines[kind] = e
	}
	return land(t, landingEngines[kind])
}

func land(t *testing.T, e *lab.Engine) *landing {
	t.Helper()
	l := &landing{engine: e}
	var err error
	l.api, err = engine.Find(t.Context(), e.Host())
	must(t, err)
	t.Cleanup(func() { l.api.Close() })
	l.host, err = loader.Open(t.Context(), loader.Options{EngineHost: e.Host(), StateDir: t.TempDir(), Tool: "test"})
	must(t, err)
	t.Cleanup(func() { l.host.Close() })
	l.store = l.host.Engine().Store
	t.Cleanup(func() { l.clear(t) })
	return l
}

// clear removes the containers and images of a test.
func (l *landing) clear(t *testing.T) {
	ctx := context.Background()
	containers, err := l.api.Containers(ctx)
	must(t, err)
	for _, c := range containers {
		_, err := l.engine.Docker(ctx, "rm", "-f", c.ID)
		must(t, err)
	}
	images, err := l.api.Images(ctx)
	must(t, err)
	for _, i := range images {
		for _, ref := range i.Refs {
			must(t, l.api.Untag(ctx, ref))
		}
		if len(i.Refs) == 0 {
			must(t, l.api.Remove(ctx, i.ID))
		}
	}
}

// lastSeed makes the layers of each test its own.
var lastSeed uint64

// tarOf returns a layer that no other test has.
func (l *landing) tarOf(t testing.TB, n int) []byte {
	lastSeed++
	return layerTar(t, fmt.Sprintf("file%d", lastSeed), lastSeed, n)
}

// plan makes the plan for images as a push does.
func (l *landing) plan(t *testing.T, o manifest.Options, images ...*handmade) manifest.Plan {
	t.Helper()
	var a manifest.Artifacts
	for _, i := range images {
		a.Images = append(a.Images, i.Image)
	}
	inv, err := l.host.Inventory(t.Context(), manifest.Ask(a))
	must(t, err)
	p, err := manifest.Diff(a, inv, o)
	must(t, err)
	p.From, p.Session = "tester@bench", "s"
	return p
}

// push plans and applies, and wants it to succeed.
func (l *landing) push(t *testing.T, o manifest.Options, images ...*handmade) (manifest.Plan, manifest.Receipt) {
	t.Helper()
	p := l.plan(t, o, images...)
	commits := 0
	r, err := l.host.Apply(t.Context(), p, newHandFeed(p, images...), func() { commits++ }, nil)
	must(t, err)
	if commits != 1 {
		t.Errorf("commit was called %d times", commits)
	}
	for _, i := range images {
		l.bears(t, i.Ref, i)
	}
	return p, r
}

// bears wants ref to point at the very image img, whole.
func (l *landing) bears(t *testing.T, ref string, img *handmade) {
	t.Helper()
	got, err := l.api.Image(t.Context(), ref, img.Platform)
	must(t, err)
	if got.Config.Digest != img.Config.Digest || !slices.Equal(got.DiffIDs, img.DiffIDs()) || len(got.Missing) > 0 {
		t.Errorf("%s is config %s, layers %v, missing %v; want %s %v", ref, got.Config.Digest, got.DiffIDs, got.Missing, img.Config.Digest, img.DiffIDs())
	}
	if l.store == manifest.StoreContainerd && img.Manifest.Digest != "" && got.Manifest.Digest != img.Manifest.Digest {
		t.Errorf("%s has manifest %s, want %s", ref, got.Manifest.Digest, img.Manifest.Digest)
	}
	if err := l.api.TryCreate(t.Context(), ref, manifest.Platform{}); err != nil && img.Platform.Architecture == "amd64" {
		t.Errorf("create a container of %s: %v", ref, err)
	}
}

// fails applies a plan that must fail with kind, and wants the engine to be as it was.
func (l *landing) fails(t *testing.T, kind manifest.Kind, p manifest.Plan, f loader.Feed) error {
	t.Helper()
	was := l.state(t)
	r, err := l.host.Apply(t.Context(), p, f, func() {}, nil)
	t.Logf("%s: %v", manifest.KindOf(err), err)
	if manifest.KindOf(err) != kind {
		t.Errorf("got %q %v, want %s", manifest.KindOf(err), err, kind)
	}
	if len(r.Images) > 0 {
		t.Errorf("the receipt lists %v", r.Images)
	}
	if now := l.state(t); now != was {
		t.Errorf("the engine changed:\nbefore %s\nafter  %s", was, now)
	}
	return err
}

// state is what names and images the engine has.
func (l *landing) state(t *testing.T) string {
	t.Helper()
	images, err := l.api.Images(t.Context())
	must(t, err)
	var lines []string
	for _, i := range images {
		slices.Sort(i.Refs)
		lines = append(lines, fmt.Sprint(i.ID, i.Refs))
	}
	slices.Sort(lines)
	containers, err := l.api.Containers(t.Context())
	must(t, err)
	return strings.Join(lines, "\n") + fmt.Sprint(containers)
}

func TestLoaderPushes(t *testing.T) {
	eachEngine(t, func(t *testing.T, l *landing) {
		for _, tt := range []struct {
			name string
			codec
			keep bool
		}{{"tar", "", false}, {"gzip", "gzip", false}, {"manifest", "gzip", true}, {"zstd", "zstd", true}} {
			t.Run(tt.name, func(t *testing.T) {
				ref := "team/app-" + tt.name + ":1.0"
				base, mid := l.tarOf(t, 3<<20), l.tarOf(t, 100)
				first := makeImage(t, ref, tt.codec, tt.keep, base, mid, l.tarOf(t, 1000))
				_, r := l.push(t, manifest.Options{Keep: 1}, first)
				if r.Images[0].Before.ID != "" || r.Images[0].Keeper != "" || len(r.Images[0].Proof) < 2 {
					t.Errorf("receipt %+v", r.Images[0])
				}
				second := makeImage(t, ref, tt.codec, tt.keep, base, mid, l.tarOf(t, 1000))
				p, r := l.push(t, manifest.Options{Keep: 1}, second)
				if !p.Images[0].Layers[0].Present || !p.Images[0].Layers[1].Present || p.Sizes.Send > 64<<10 {
					t.Errorf("the base would be sent again: %+v", p.Sizes)
				}
				done := r.Images[0]
				if done.Before.Config != first.Config.Digest || done.After.Config != second.Config.Digest {
					t.Errorf("receipt %+v", done)
				}
				l.bears(t, done.Keeper, first)
				if p = l.plan(t, manifest.Options{Keep: 1}, second); !p.Nothing() {
					t.Errorf("pushed again: %+v", p.Images[0].Action)
				}
				p, r = l.push(t, manifest.Options{Keep: 1}, first)
				if p.Images[0].Action != manifest.ActionTag {
					t.Errorf("back to the former image: %s", p.Images[0].Action)
				}
				l.bears(t, r.Images[0].Keeper, second)
			})
		}
	})
}

func TestLoaderRefusesWhatIsWrong(t *testing.T) {
	eachEngine(t, func(t *testing.T, l *landing) {
		ref := "app:1"
		base := l.tarOf(t, 1<<20)
		good := makeImage(t, ref, "gzip", true, base)
		l.push(t, manifest.Options{}, good)
		next := makeImage(t, ref, "gzip", true, base, l.tarOf(t, 200_000), l.tarOf(t, 10))
		plan := l.plan(t, manifest.Options{Keep: 1}, next)
		top := next.Layers[1].Digest
		spoilers := []struct {
			name  string
			blob  manifest.Digest
			spoil func(raw []byte) []byte
		}{
			{"flipped byte", top, func(raw []byte) []byte { raw[len(raw)/2] ^= 1; return raw }},
			{"cut short", top, func(raw []byte) []byte { return raw[:len(raw)-1] }},
			{"too long", top, func(raw []byte) []byte { return append(raw, 0) }},
			{"empty", top, func(raw []byte) []byte { return nil }},
			{"wrong config", next.Config.Digest, func(raw []byte) []byte { return []byte(strings.Replace(string(raw), "sleeper", "slipper", 1)) }},
		}
		for _, s := range spoilers {
			t.Run(s.name, func(t *testing.T) {
				f := newHandFeed(plan, next)
				f.spoil = func(d manifest.Digest, raw []byte) []byte {
					if d != s.blob {
						return raw
					}
					return s.spoil(slices.Clone(raw))
				}
				err := l.fails(t, manifest.KindIntegrity, plan, f)
				if !strings.Contains(fmt.Sprint(err), s.blob.Encoded()) {
					t.Errorf("%v does not name the blob", err)
				}
				l.bears(t, ref, good)
			})
		}
		t.Run("config of other layers", func(t *testing.T) {
			bad := makeImage(t, ref, "gzip", true, base, l.tarOf(t, 10))
			right := bad.Layers[1].DiffID
			bad.Layers[1].DiffID = good.Layers[0].DiffID
			bad.describe(t, true)
			bad.Layers[1].DiffID = right
			p := l.plan(t, manifest.Options{}, bad)
			l.fails(t, manifest.KindIntegrity, p, newHandFeed(p, bad))
		})
		t.Run("layer with another diffID", func(t *testing.T) {
			bad := makeImage(t, ref, "gzip", true, base, l.tarOf(t, 10))
			bad.Layers[1].DiffID = next.Layers[1].DiffID
			bad.describe(t, true)
			p := l.plan(t, manifest.Options{}, bad)
			l.fails(t, manifest.KindIntegrity, p, newHandFeed(p, bad))
		})
		t.Run("layer that is no archive", func(t *testing.T) {
			bad := makeImage(t, ref, "", true, base, []byte("this is not a tar file, and it is not compressed either"))
			p := l.plan(t, manifest.Options{}, bad)
			l.fails(t, manifest.KindEngine, p, newHandFeed(p, bad))
		})
		t.Run("feed", func(t *testing.T) {
			lost := errors.New("the line broke")
			f := newHandFeed(plan, next)
			f.before = func(_ int, d manifest.Descriptor) error {
				if d.Digest == next.Config.Digest {
					return lost
				}
				return nil
			}
			if err := l.fails(t, manifest.KindInternal, plan, f); !errors.Is(err, lost) {
				t.Errorf("got %v", err)
			}
		})
		t.Run("cancelled", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			f := newHandFeed(plan, next)
			f.before = func(_ int, d manifest.Descriptor) error {
				if d.Digest == next.Config.Digest {
					cancel()
					<-ctx.Done()
				}
				return nil
			}
			was := l.state(t)
			if _, err := l.host.Apply(ctx, plan, f, func() {}, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if now := l.state(t); now != was {
				t.Errorf("the engine changed:\nbefore %s\nafter  %s", was, now)
			}
		})
		l.push(t, manifest.Options{}, next)
	})
}

func TestLoaderMissingLayer(t *testing.T) {
	eachEngine(t, func(t *testing.T, l *landing) {
		for _, tt := range []struct {
			name string
			codec
			keep bool
		}{{"tar", "", false}, {"manifest", "gzip", true}} {
			t.Run(tt.name, func(t *testing.T) {
				ref := "app-" + tt.name + ":1"
				good := makeImage(t, ref, tt.codec, tt.keep, l.tarOf(t, 100))
				l.push(t, manifest.Options{}, good)
				next := makeImage(t, ref, tt.codec, tt.keep, l.tarOf(t, 5000), l.tarOf(t, 10))
				p := l.plan(t, manifest.Options{}, next)
				p.Images[0].Layers[0].Present = true // as if the inventory had been wrong
				err := l.fails(t, manifest.KindStale, p, newHandFeed(p, next))
				l.bears(t, ref, good)
				var f *manifest.Failure
				if !errors.As(err, &f) || !slices.Contains(f.Absent, next.Layers[0].DiffID) {
					t.Fatalf("%v does not name %s: %v", err, next.Layers[0].DiffID, f.Absent)
				}
				l.push(t, manifest.Options{Absent: f.Absent}, next)
			})
		}
	})
}

func TestLoaderManyImages(t *testing.T) {
	eachEngine(t, func(t *testing.T, l *landing) {
		base, shared := l.tarOf(t, 100_000), l.tarOf(t, 1000)
		images := []*handmade{
			makeImage(t, "a:1", "gzip", false, base, shared),
			makeImage(t, "b:1", "gzip", false, base, shared, l.tarOf(t, 10), base), // the base once more, further up
			makeImage(t, "c:1", "gzip", false, shared, base),
			makeImage(t, "d:1", "gzip", false, base, shared), // a:1 under another name
		}
		_, r := l.push(t, manifest.Options{Keep: 1}, images...)
		if len(r.Images) != 4 {
			t.Errorf("receipt %+v", r.Images)
		}
		t.Run("all or none", func(t *testing.T) {
			bad := []*handmade{
				makeImage(t, "a:1", "gzip", true, base, l.tarOf(t, 10)),
				makeImage(t, "b:1", "gzip", true, base, l.tarOf(t, 10)),
			}
			p := l.plan(t, manifest.Options{Keep: 1}, bad...)
			f := newHandFeed(p, bad...)
			f.before = func(n int, _ manifest.Descriptor) error {
				if n == 1 {
					return io.ErrUnexpectedEOF
				}
				return nil
			}
			commits := 0
			if _, err := l.host.Apply(t.Context(), p, f, func() { commits++ }, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v", err)
			}
			if commits != 0 {
				t.Errorf("commit was called before the last image")
			}
			l.bears(t, "a:1", images[0])
			l.bears(t, "b:1", images[1])
			if p = l.plan(t, manifest.Options{Keep: 1}, bad...); p.Images[0].Action != manifest.ActionTag {
				t.Errorf("what was loaded is not found again: %s", p.Images[0].Action)
			}
			l.push(t, manifest.Options{Keep: 1}, bad...)
		})
	})
}

func TestLoaderForeignPlatform(t *testing.T) {
	eachEngine(t, func(t *testing.T, l *landing) {
		img := makeImage(t, "app:arm", "gzip", true, l.tarOf(t, 100))
		img.Platform = manifest.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
		img.describe(t, true)
		l.push(t, manifest.Options{AnyPlatform: true}, img)
		next := makeImage(t, "app:arm", "gzip", true, l.tarOf(t, 1000))
		next.Platform = img.Platform
		next.describe(t, true)
		p := l.plan(t, manifest.Options{AnyPlatform: true}, next)
		p.Images[0].Layers[0].Present = true
		err := l.fails(t, manifest.KindStale, p, newHandFeed(p, next))
		var f *manifest.Failure
		if errors.As(err, &f) && !slices.Contains(f.Absent, next.Layers[0].DiffID) {
			t.Errorf("absent %v", f.Absent)
		}
	})
}
