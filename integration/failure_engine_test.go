//go:build linux

package integration

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// Whatever an engine answers, a name is moved only to an image that was proven; and the next push to the same engine in a
// better mood succeeds.
func TestUnfriendlyEngine(t *testing.T) {
	zeros := "sha256:" + strings.Repeat("0", 64)
	cases := []struct {
		name   string
		before func(http.ResponseWriter, *http.Request) bool
		exit   int
		says   string
	}{
		{"errorDetail", refuse(`{"errorDetail":{"message":"it went wrong"},"error":"it went wrong"}`), 16, "it went wrong"},
		{"error after success", refuse(line("stream", "Loaded image ID: "+zeros) + "\n" + line("error", "second thoughts")), 16, "second thoughts"},
		{"cannot unpack", refuse(line("stream", "Loaded image: app:1") + "\n" + line("stream", "Error unpacking image app:1: apply layer")), 16, "Error unpacking image"},
		{"no space", refuse(line("error", "write /data/x: no space left on device")), 14, "no space left on device"},
		{"a lie", refuse(line("stream", "Loaded image ID: "+zeros)), 16, "no whole image"},
		{"silence", refuse(""), 16, "loaded nothing"},
		{"no containers", status(isCreate, 500), 16, "status 500"},
		{"a page", refuse("<html>"), 16, ""},
		{"no names", status(isTag, 500), 16, "status 500"},
		{"status 500", status(isLoad, 500), 16, "status 500"},
		{"breaks off", breakOff, 16, "broke off"},
	}
	bothStores(t, func(t *testing.T, k lab.Kind) {
		s := stand(t, k)
		for n, e := range cases {
			if k != lab.Docker2010 && n%2 == 1 {
				continue // half of the answers are enough for the second kind: the engine is not asked
			}
			t.Run(e.name, func(t *testing.T) {
				s.c.t = t
				s.version(t, 1<<20)
				r := s.c.fails(e.exit, "--host-engine", newTap(t, s.c.Host.Engine, e.before).Host(), s.ref)
				r.says(t, e.says)
				if e.name == "no names" { // the image was loaded and proven, and stays without a name for the next push
					s.images = append(s.images, nameless(t, s.c.Host.Engine))
				}
				s.untouched(t)
				s.recovers(t)
			})
		}
	})
}

// nameless returns the one image of an engine that has no name, as imagesOf lists it.
func nameless(t *testing.T, e *lab.Engine) string {
	t.Helper()
	images := slices.DeleteFunc(imagesOf(t, e), func(i string) bool { return !strings.HasSuffix(i, "<none>:<none>") })
	if len(images) != 1 {
		t.Fatalf("%s has %d images without a name, want one: %q", e.Name, len(images), images)
	}
	return images[0]
}

// status answers requests of a kind with a status, without asking the engine.
func status(kind func(*http.Request) bool, code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !kind(r) {
			return false
		}
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(code)
		io.WriteString(w, line("message", "status 500 it is"))
		return true
	}
}

func isCreate(r *http.Request) bool {
	return r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/containers/create")
}

func isTag(r *http.Request) bool { return r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/tag") }

// breakOff reads a megabyte of the load and hangs up.
func breakOff(w http.ResponseWriter, r *http.Request) bool {
	if !isLoad(r) {
		return false
	}
	io.CopyN(io.Discard, r.Body, 1<<19)
	panic(http.ErrAbortHandler)
}

// A layer that the plan counted on is gone when the engine loads: the push plans again, sends it, and ends well.
func TestLayerLost(t *testing.T) {
	bothStores(t, func(t *testing.T, k lab.Kind) {
		s := standOn(t, newClient(t, source(t, k), target(t, k)), 501) // no other image has this base
		s.version(t, 1<<20)
		h := s.c.Host.Engine
		var once sync.Once
		tap := newTap(t, h, func(_ http.ResponseWriter, r *http.Request) bool {
			if isLoad(r) {
				once.Do(func() { removeAll(t, h, strings.TrimSuffix(s.ref, ":1")) })
			}
			return false
		})
		r := s.c.pushed("--host-engine", tap.Host(), s.ref)
		if n := r.steps("retry"); n != 1 {
			t.Errorf("%d times planned again, want once\n%s", n, r.Stderr)
		}
		if n := tap.count("/images/load"); n != 2 {
			t.Errorf("%d loads, want 2", n)
		}
		arrived(t, s.c, s.ref, s.message())
	})
}

// Somebody else moves the name while a push is under way: his image is not overwritten unseen, but becomes the former one.
func TestNameMoved(t *testing.T) {
	bothStores(t, func(t *testing.T, k lab.Kind) {
		s := stand(t, k)
		other := stand(t, k)
		s.look(t)
		s.version(t, 1<<20)
		h := s.c.Host.Engine
		var once sync.Once
		tap := newTap(t, h, func(_ http.ResponseWriter, r *http.Request) bool {
			if isLoad(r) {
				once.Do(func() {
					if _, err := h.Docker(t.Context(), "tag", other.ref, s.ref); err != nil {
						t.Error(err)
					}
				})
			}
			return false
		})
		r := s.c.pushed("--host-engine", tap.Host(), s.ref)
		if n := r.steps("retry"); n != 1 {
			t.Errorf("%d times planned again, want once\n%s", n, r.Stderr)
		}
		if k := idOf(t, h, r.Summary.Images[0].Keeper); k != other.id {
			t.Errorf("the former image is %s, want the one that the name was moved to, %s", k, other.id)
		}
		arrived(t, s.c, s.ref, s.message())
	})
}
