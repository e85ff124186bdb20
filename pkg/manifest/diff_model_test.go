package manifest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// modelOf reads "path=content" words; a word without "=" is a folder. Parents come by themselves.
func modelOf(name, spec string) manifest.Model {
	m := manifest.Model{Name: name}
	for _, word := range strings.Fields(spec) {
		p, content, isFile := strings.Cut(word, "=")
		if isFile {
			m.Files = append(m.Files, manifest.File{Path: p, Descriptor: manifest.Descriptor{Digest: id(content), Size: 100}})
		} else {
			m.Dirs = append(m.Dirs, p)
		}
		for i := range p {
			if p[i] == '/' && !slices.Contains(m.Dirs, p[:i]) {
				m.Dirs = append(m.Dirs, p[:i])
			}
		}
	}
	slices.Sort(m.Dirs)
	slices.SortFunc(m.Files, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	return m
}

func liveModel(name, spec string) manifest.HostModel {
	m := modelOf(name, spec)
	return manifest.HostModel{Name: name, Found: manifest.FoundDirectory, Files: m.Files, Dirs: m.Dirs}
}

func TestPlanModel(t *testing.T) {
	const base = "config.pbtxt=c 1/w=one 2/w=two"
	tests := []struct {
		name, want, live string
		exact, renames   bool
		place            manifest.Placement
		entry            string
		gone             bool
		sent, kept       string
		warnings         int
	}{
		{name: "same", want: base, live: base, place: manifest.PlaceNothing},
		{name: "config", want: "config.pbtxt=d 1/w=one 2/w=two", live: base, place: manifest.PlaceFile, entry: "config.pbtxt", sent: "config.pbtxt"},
		{name: "weights", want: "config.pbtxt=c 1/w=new 2/w=two", live: base, place: manifest.PlaceFile, entry: "1/w", sent: "1/w"},
		{name: "file more", want: base + " 1/more=x", live: base, place: manifest.PlaceFile, entry: "1/more", sent: "1/more"},
		{name: "file less", want: base, live: base + " labels=x", place: manifest.PlaceFile, entry: "labels", gone: true},
		{name: "version more", want: base + " 3/w=three", live: base, place: manifest.PlaceVersion, entry: "3", sent: "3/w"},
		{name: "version more, by renames", want: base + " 3/w=three", live: base, renames: true, place: manifest.PlaceVersion, entry: "3", sent: "3/w"},
		{name: "empty version", want: base + " 3", live: base, place: manifest.PlaceVersion, entry: "3"},
		{name: "version changed", want: "config.pbtxt=c 1/w=new 1/x=x 2/w=two", live: base, place: manifest.PlaceVersion, entry: "1", sent: "1/w 1/x"},
		{name: "version changed, by renames", want: "config.pbtxt=c 1/w=new 1/x=x 2/w=two", live: base, renames: true, place: manifest.PlaceModel, sent: "1/w 1/x"},
		{name: "version less is kept", want: "config.pbtxt=c 1/w=one", live: base, place: manifest.PlaceNothing, kept: "2", warnings: 1},
		{name: "lower version is kept", want: "config.pbtxt=c 2/w=two", live: base, place: manifest.PlaceNothing, kept: "1"},
		{name: "version less, exact", want: "config.pbtxt=c 1/w=one", live: base, exact: true, place: manifest.PlaceVersion, entry: "2", gone: true},
		{name: "two things", want: "config.pbtxt=d 1/w=new 2/w=two", live: base, place: manifest.PlaceModel, sent: "config.pbtxt 1/w"},
		{name: "two things, one kept", want: "config.pbtxt=d 1/w=new", live: base, place: manifest.PlaceModel, sent: "config.pbtxt 1/w", kept: "2", warnings: 1},
		{name: "a file where a folder was", want: "config.pbtxt=c 1=x", live: "config.pbtxt=c 1/w=one", exact: true, place: manifest.PlaceModel, sent: "1"},
		{name: "folder that is no version", want: base + " assets/a=a assets/b=b", live: base, place: manifest.PlaceModel, sent: "assets/a assets/b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := manifest.PlanModel(modelOf("m", tt.want), liveModel("m", tt.live), tt.exact, !tt.renames)
			if err != nil {
				t.Fatal(err)
			}
			if p.Place != tt.place || p.Entry != tt.entry || p.Gone != tt.gone {
				t.Errorf("placed by %s %q, gone %v", p.Place, p.Entry, p.Gone)
			}
			var sent []string
			for _, f := range p.Sent() {
				sent = append(sent, f.Path)
			}
			want := strings.Fields(tt.sent)
			slices.Sort(want)
			if p.Place != manifest.PlaceNothing && !slices.Equal(sent, want) {
				t.Errorf("sends %v, want %v", sent, want)
			}
			if strings.Join(p.Kept, " ") != tt.kept || len(p.Warnings) != tt.warnings {
				t.Errorf("keeps %v, warns %v", p.Kept, p.Warnings)
			}
		})
	}
}

func TestDiffModels(t *testing.T) {
	components, ensemble := modelOf("b", "1/w=same config.pbtxt=b"), modelOf("a", "1 config.pbtxt=a copy=same")
	ensemble.After = []string{"b"}
	repo := &manifest.Repository{Exchange: true, Models: []manifest.HostModel{{Name: "a"}, {Name: "b"}}, Staged: []manifest.Staged{{Digest: id("b"), Chunks: []int{0}}}}
	a := manifest.Artifacts{Models: []manifest.Model{ensemble, components}}
	p, err := manifest.Diff(a, manifest.Inventory{Repository: repo}, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Models[0].Model.Name != "b" || p.Models[1].Model.Name != "a" {
		t.Errorf("the ensemble comes before its component")
	}
	if len(p.Files) != 3 || p.Sizes.Send != 200 || p.Sizes.Staged != 100 {
		t.Errorf("files %v, sizes %+v", p.Files, p.Sizes)
	}
	for _, bad := range []struct {
		kind   manifest.Kind
		change func(*manifest.Repository)
	}{
		{manifest.KindPermission, func(r *manifest.Repository) { r.Refusal = "no" }},
		{manifest.KindPermission, func(r *manifest.Repository) { r.Models[0].Found = manifest.FoundSymlink }},
		{manifest.KindPermission, func(r *manifest.Repository) { r.Models[0].Found = manifest.FoundOther }},
		{manifest.KindPermission, func(r *manifest.Repository) { r.Models[0].Found, r.Models[0].Refusal = manifest.FoundDirectory, "no" }},
		{manifest.KindSpace, func(r *manifest.Repository) { r.Stage = manifest.Space{Path: "/x", Free: 199, Inodes: 10} }},
		{manifest.KindSpace, func(r *manifest.Repository) { // all three twice, as small files are, and one in a second place
			r.Stage = manifest.Space{Path: "/x", Free: 599, Inodes: 10}
		}},
		{manifest.KindInternal, func(r *manifest.Repository) { r.Models = r.Models[:1] }},
	} {
		r := *repo
		r.Models = slices.Clone(repo.Models)
		bad.change(&r)
		if _, err := manifest.Diff(a, manifest.Inventory{Repository: &r}, manifest.Options{}); manifest.KindOf(err) != bad.kind {
			t.Errorf("want %s, it says %v", bad.kind, err)
		}
	}
	if _, err := manifest.Diff(a, manifest.Inventory{}, manifest.Options{}); manifest.KindOf(err) != manifest.KindPermission {
		t.Errorf("without a repository it says %v", err)
	}
}
