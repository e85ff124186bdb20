//go:build linux

package integration

import (
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestLoaderNameMovedMeanwhile(t *testing.T) {
	eachEngine(t, func(t *testing.T, l *landing) {
		first := makeImage(t, "app:1", "gzip", true, l.tarOf(t, 100))
		other := makeImage(t, "other:1", "gzip", true, l.tarOf(t, 100))
		l.push(t, manifest.Options{}, first, other)
		next := makeImage(t, "app:1", "gzip", true, l.tarOf(t, 100))
		p := l.plan(t, manifest.Options{Keep: 1}, next)
		f := newHandFeed(p, next)
		f.before = func(int, manifest.Descriptor) error {
			f.before = nil
			return l.api.Tag(t.Context(), "other:1", "app:1")
		}
		_, err := l.host.Apply(t.Context(), p, f, func() {}, nil)
		if manifest.KindOf(err) != manifest.KindStale {
			t.Errorf("got %v", err)
		}
		l.bears(t, "app:1", other)
		_, r := l.push(t, manifest.Options{Keep: 1}, next)
		l.bears(t, r.Images[0].Keeper, other)
	})
}

func TestLoaderKeepers(t *testing.T) {
	eachEngine(t, func(t *testing.T, l *landing) {
		keepers := func() (names []string) {
			refs, err := l.api.Refs(t.Context())
			must(t, err)
			for r := range refs {
				if strings.HasPrefix(r, "clara-push-former/app-") {
					names = append(names, r)
				}
			}
			return names
		}
		var images []*handmade
		for range 5 {
			images = append(images, makeImage(t, "reg.example:5000/team/app:1", "gzip", true, l.tarOf(t, 100)))
		}
		foreign := makeImage(t, "clara-push-former/app-01234567:aaaaaaaaaaaa", "gzip", true, l.tarOf(t, 100)) // of another ref
		l.push(t, manifest.Options{}, foreign)
		want := func(n int, former ...*handmade) {
			t.Helper()
			if got := keepers(); len(got) != n+1 {
				t.Errorf("keepers %v, want %d and the foreign one", got, n)
			}
			for _, i := range former {
				l.bears(t, "clara-push-former/app-"+keeperHash(i.Ref)+":"+i.Config.Digest.Encoded()[:12], i)
			}
		}
		l.push(t, manifest.Options{Keep: 1}, images[0])
		want(0)
		l.push(t, manifest.Options{Keep: 1}, images[1])
		want(1, images[0])
		l.push(t, manifest.Options{Keep: 1}, images[2])
		want(1, images[1])
		l.push(t, manifest.Options{Keep: 2}, images[3])
		want(2, images[2], images[1])
		l.push(t, manifest.Options{Keep: 2}, images[4])
		want(2, images[3], images[2])
		l.push(t, manifest.Options{Keep: 0}, images[0])
		want(0)
		l.bears(t, foreign.Ref, foreign)
	})
}

func TestLoaderStaleContainers(t *testing.T) {
	program := sleeperTar(t)
	eachEngine(t, func(t *testing.T, l *landing) {
		first := makeImage(t, "app:1", "gzip", true, program, l.tarOf(t, 100))
		l.push(t, manifest.Options{}, first)
		id, err := l.engine.Docker(t.Context(), "create", "--network", "none", "app:1")
		must(t, err)
		resp, err := l.engine.HTTP().Post("http://engine/containers/"+id+"/start", "", nil) // the docker command cannot on podman 4
		must(t, err)
		resp.Body.Close()
		_, err = l.engine.Docker(t.Context(), "create", "--network", "none", "app:1") // never started
		must(t, err)
		second := makeImage(t, "app:1", "gzip", true, program, l.tarOf(t, 100))
		inv, err := l.host.Inventory(t.Context(), manifest.Ask(manifest.Artifacts{Images: []manifest.Image{second.Image}}))
		must(t, err)
		if len(inv.Users) != 2 {
			t.Errorf("users %v", inv.Users)
		}
		_, r := l.push(t, manifest.Options{Keep: 1}, second)
		if stale := r.Images[0].Stale; len(stale) != 1 || stale[0].ID != id || stale[0].Name == "" {
			t.Errorf("stale %v, want %s", stale, id)
		}
	})
}
