//go:build linux

package integration

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer"
)

// keep runs do with a Keeper of the place, as a run of the program does.
func keep[T any](p *place, do func(k transfer.Keeper) (T, error)) (T, error) {
	p.t.Helper()
	target, err := p.open()
	must(p.t, err)
	defer target.Close()
	return do(target.(transfer.Keeper))
}

func (p *place) status() manifest.Status {
	p.t.Helper()
	s, err := keep(p, func(k transfer.Keeper) (manifest.Status, error) { return k.Status(p.t.Context()) })
	must(p.t, err)
	return s
}

func (p *place) back(what manifest.Selection) (manifest.Receipt, error) {
	p.t.Helper()
	return keep(p, func(k transfer.Keeper) (manifest.Receipt, error) { return k.Rollback(p.t.Context(), what) })
}

func (p *place) remove(what manifest.Selection) (manifest.Receipt, error) {
	p.t.Helper()
	return keep(p, func(k transfer.Keeper) (manifest.Receipt, error) { return k.Remove(p.t.Context(), what) })
}

// drifts wants a status to tell this drift of each image, then of each model; in order, separated by commas.
func (p *place) drifts(want string) manifest.Status {
	p.t.Helper()
	s := p.status()
	var got []string
	for _, i := range s.Images {
		got = append(got, string(i.Drift))
	}
	for _, m := range s.Models {
		got = append(got, string(m.Drift))
	}
	if strings.Join(got, ",") != want {
		p.t.Errorf("drifts %q, want %q", got, want)
	}
	return s
}

// releases makes three releases of two images and a model: the second changes everything, the third one image.
func (p *place) releases() [3]*shelf {
	base := p.tarOf(p.t, 1<<20)
	one, two := makeImage(p.t, "one:1", "gzip", true, base), makeImage(p.t, "two:1", "gzip", true, base, p.tarOf(p.t, 10))
	one2, two2 := makeImage(p.t, "one:1", "gzip", true, base, p.tarOf(p.t, 20)), makeImage(p.t, "two:1", "gzip", true, base, p.tarOf(p.t, 30))
	one3 := makeImage(p.t, "one:1", "gzip", true, base, p.tarOf(p.t, 40))
	files := func(config string) map[string]string {
		return map[string]string{"config.pbtxt": config, "1/w": "weights"}
	}
	return [3]*shelf{
		newShelf(one, two).add("seg", files("first")).of("liver", "1.0"),
		newShelf(one2, two2).add("seg", files("second")).of("liver", "1.1"),
		newShelf(one3, two2).add("seg", files("second")).of("liver", "1.2"),
	}
}

func TestKeeperRollsBack(t *testing.T) {
	eachTarget(t, func(t *testing.T, p *place) {
		var states []string // names and models; keepers do not count
		look := func() string {
			refs, err := p.api.Refs(t.Context())
			must(t, err)
			for r := range refs {
				if strings.HasPrefix(r, "clara-push-former/") {
					delete(refs, r)
				}
			}
			text := p.listing()
			for _, r := range []string{"one:1", "two:1"} {
				text += " " + r + " " + refs[r]
			}
			return text
		}
		states = append(states, look())
		for _, s := range p.releases() {
			p.pushed(s, manifest.Options{Keep: 2})
			states = append(states, look())
		}
		s := p.drifts(",,")
		if len(s.Releases) != 1 || s.Releases[0].Version != "1.2" || !s.Images[0].Back || s.Images[0].From.Version != "1.2" || s.Models[0].From == nil {
			t.Errorf("status %+v", s)
		}
		for n, version := range []string{"1.1", "1.0", ""} {
			r, err := p.back(manifest.Selection{})
			must(t, err)
			if r.Act != manifest.ActRollback || r.Path == "" || len(r.Warnings) > 0 {
				t.Errorf("receipt %+v", r)
			}
			if got := look(); got != states[2-n] {
				t.Errorf("after rollback %d it is\n%s\nwant\n%s", n, got, states[2-n])
			}
			if s = p.status(); version == "" && len(s.Images)+len(s.Models)+len(s.Releases) > 0 || version != "" && (s.Releases[0].Version != version || s.Images[0].From.Version != version) {
				t.Errorf("status %+v", s)
			}
		}
		if _, err := p.back(manifest.Selection{}); manifest.KindOf(err) != manifest.KindNotFound {
			t.Errorf("nothing is left to go back to: %v", err)
		}
		if refs, err := p.api.Refs(t.Context()); err != nil || len(refs) > 0 {
			t.Errorf("names are left: %v, %v", refs, err)
		}
	})
}

// listing is what the repository holds, in one text.
func (p *place) listing() string {
	p.t.Helper()
	var all []string
	for path, what := range sums(p.t, p.repo, true) {
		all = append(all, path+" "+what)
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

func TestKeeperRollsBackInPart(t *testing.T) {
	eachTarget(t, func(t *testing.T, p *place) {
		all := p.releases()
		for _, s := range all {
			p.pushed(s, manifest.Options{Keep: 2})
		}
		want := func(ref string, s *shelf, n int) {
			t.Helper()
			id, err := p.api.Image(t.Context(), ref, manifest.Platform{})
			if err != nil || id.Config.Digest != s.artifacts.Images[n].Config.Digest {
				t.Errorf("%s is %s, %v", ref, id.Config.Digest, err)
			}
		}
		_, err := p.back(manifest.Selection{Images: []string{"two:1"}})
		must(t, err)
		want("one:1", all[2], 0)
		want("two:1", all[0], 1)
		_, err = p.back(manifest.Selection{Models: []string{"seg"}})
		must(t, err)
		p.holds(all[0])
		_, err = p.back(manifest.Selection{})
		must(t, err)
		want("one:1", all[1], 0)
		want("two:1", all[0], 1)
		_, err = p.back(manifest.Selection{}) // what is left of the second release
		must(t, err)
		want("one:1", all[0], 0)
		p.drifts(",,")
	})
}

// Status shows what somebody changes by hand; rollback and removal refuse to throw it away.
func TestKeeperSeesDrift(t *testing.T) {
	eachTarget(t, func(t *testing.T, p *place) {
		all := p.releases()
		p.pushed(all[0], manifest.Options{Keep: 1})
		p.pushed(all[1], manifest.Options{Keep: 1})
		p.drifts(",,")
		docker(t, p.engine, "tag", "two:1", "one:1")
		must(t, os.WriteFile(filepath.Join(p.repo, "seg", "config.pbtxt"), []byte("by hand"), 0o644))
		if s := p.drifts("moved,,changed"); len(s.Models[0].Changed) != 1 || s.Models[0].Changed[0] != "config.pbtxt" {
			t.Errorf("changed are %v", s.Models[0].Changed)
		}
		was := p.all()
		for _, what := range []manifest.Selection{{}, {Images: []string{"one:1"}}, {Models: []string{"seg"}}} {
			if _, err := p.back(what); manifest.KindOf(err) != manifest.KindDrift {
				t.Errorf("rollback of %+v: %v", what, err)
			}
			if what.Empty() {
				continue
			}
			if _, err := p.remove(what); manifest.KindOf(err) != manifest.KindDrift {
				t.Errorf("removal of %+v: %v", what, err)
			}
		}
		if now := p.all(); now != was {
			t.Errorf("changed from\n%s\nto\n%s", was, now)
		}
		docker(t, p.engine, "rmi", "one:1")
		must(t, os.RemoveAll(filepath.Join(p.repo, "seg")))
		p.drifts("gone,,gone")
		_, err := p.back(manifest.Selection{Images: []string{"two:1"}})
		must(t, err)
		_, err = p.back(manifest.Selection{Images: []string{"one:1"}, Force: true})
		must(t, err)
		p.drifts(",,gone")
	})
}

func TestKeeperRemoves(t *testing.T) {
	eachTarget(t, func(t *testing.T, p *place) {
		docker(t, p.engine, "info") // the engine is there
		all := p.releases()
		p.pushed(all[0], manifest.Options{Keep: 1})
		p.pushed(all[1], manifest.Options{Keep: 1})
		docker(t, p.engine, "create", "--name", "user", "two:1")
		if _, err := p.remove(manifest.Selection{Images: []string{"three:1"}}); manifest.KindOf(err) != manifest.KindNotFound {
			t.Errorf("it says %v", err)
		}
		r, err := p.remove(manifest.Selection{Images: []string{"one:1", "two:1"}, Models: []string{"seg"}})
		must(t, err)
		if len(r.Images) != 2 || len(r.Models) != 1 || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "user") {
			t.Errorf("receipt %+v", r)
		}
		refs, err := p.api.Refs(t.Context())
		must(t, err)
		if len(refs) != 1 || refs[r.Images[1].Keeper] != r.Images[1].Before.ID {
			t.Errorf("names are left: %v", refs)
		}
		if left, err := os.ReadDir(p.repo); err != nil || len(left) > 0 {
			t.Errorf("models are left: %v, %v", left, err)
		}
		if id, err := p.api.ID(context.Background(), r.Images[0].Before.ID); err != nil || id != "" {
			t.Errorf("the image of one:1 is left: %s, %v", id, err)
		}
		p.drifts("")
		if _, err := p.back(manifest.Selection{}); manifest.KindOf(err) != manifest.KindNotFound {
			t.Errorf("a removal cannot be taken back, and nothing before it: %v", err)
		}
		if _, err := p.remove(manifest.Selection{Models: []string{"seg"}}); manifest.KindOf(err) != manifest.KindNotFound {
			t.Errorf("removed again: %v", err)
		}
	})
}

func TestKeeperGuardsReleases(t *testing.T) {
	eachTarget(t, func(t *testing.T, p *place) {
		all := p.releases()
		p.pushed(all[1], manifest.Options{Keep: 1})
		was := p.all()
		if _, err := p.push(all[0], manifest.Options{}); manifest.KindOf(err) != manifest.KindPolicy {
			t.Errorf("it says %v", err)
		}
		if now := p.all(); now != was {
			t.Errorf("changed from\n%s\nto\n%s", was, now)
		}
		p.pushed(all[0], manifest.Options{AllowDowngrade: true, Keep: 1})
		p.pushed(all[2], manifest.Options{MinVersion: "1.2", Keep: 1})
		_, err := p.back(manifest.Selection{})
		must(t, err)
		p.pushed(all[1], manifest.Options{}) // 1.2 was taken back, so 1.0 counts
	})
}
