package manifest_test

import (
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestCompareVersions(t *testing.T) {
	for _, tt := range []struct {
		a, b  string
		order int
		ok    bool
	}{
		{"1.0.0", "1.0.0", 0, true},
		{"v1", "1.0.0", 0, true},
		{"1.10.0", "1.9.0", 1, true},
		{"19.08", "19.10", -1, true},
		{"0.7.2-2010.1", "0.7.2-2011.1", -1, true},
		{"0.7.2-2011.1", "0.7.2-2011.2", -1, true},
		{"0.7.2-2011.1", "0.7.3-2001.1", -1, true},
		{"0.7.2-2011.1", "0.7.2", -1, true},
		{"1.0.0+a", "1.0.0+b", 0, true},
		{"nightly", "1.0", 0, false},
		{"1.0", "", 0, false},
	} {
		if order, ok := manifest.CompareVersions(tt.a, tt.b); order != tt.order || ok != tt.ok {
			t.Errorf("%s and %s: %d, %v", tt.a, tt.b, order, ok)
		}
		if order, _ := manifest.CompareVersions(tt.b, tt.a); order != -tt.order {
			t.Errorf("%s and %s: %d", tt.b, tt.a, order)
		}
	}
}

func TestDiffGuardsReleases(t *testing.T) {
	liver := func(version string) *manifest.Provenance {
		return &manifest.Provenance{Bundle: id("index"), Application: "liver", Version: version}
	}
	for _, tt := range []struct {
		name   string
		from   *manifest.Provenance
		loaded string // version of liver; "-" for none
		opt    manifest.Options
		want   manifest.Kind
	}{
		{"first", liver("1.0"), "-", manifest.Options{}, ""},
		{"newer", liver("1.1"), "1.0", manifest.Options{}, ""},
		{"same", liver("1.0"), "1.0", manifest.Options{}, ""},
		{"same as semver sees it", liver("1.0"), "v1.0.0", manifest.Options{}, ""},
		{"older", liver("1.0"), "1.1", manifest.Options{}, manifest.KindPolicy},
		{"older build", liver("0.7.2-2010.1"), "0.7.2-2011.1", manifest.Options{}, manifest.KindPolicy},
		{"older on purpose", liver("1.0"), "1.1", manifest.Options{AllowDowngrade: true}, ""},
		{"not comparable", liver("b"), "a", manifest.Options{}, manifest.KindPolicy},
		{"not comparable, the same", liver("a"), "a", manifest.Options{}, ""},
		{"not comparable, on purpose", liver("b"), "a", manifest.Options{AllowDowngrade: true}, ""},
		{"no version after one", liver(""), "1.0", manifest.Options{}, manifest.KindPolicy},
		{"one after no version", liver("1.0"), "", manifest.Options{}, manifest.KindPolicy},
		{"of no application", &manifest.Provenance{Bundle: id("index"), Version: "0.1"}, "1.0", manifest.Options{}, ""},
		{"no bundle", nil, "1.0", manifest.Options{}, ""},
		{"at least", liver("1.1"), "-", manifest.Options{MinVersion: "1.1"}, ""},
		{"less", liver("1.0"), "-", manifest.Options{MinVersion: "1.1"}, manifest.KindPolicy},
		{"less, on purpose", liver("1.0"), "-", manifest.Options{MinVersion: "1.1", AllowDowngrade: true}, manifest.KindPolicy},
		{"no version to compare", liver("nightly"), "-", manifest.Options{MinVersion: "1.1"}, manifest.KindPolicy},
		{"no version at all", nil, "-", manifest.Options{MinVersion: "1.1"}, manifest.KindPolicy},
		{"no version asked for", liver("1.0"), "-", manifest.Options{MinVersion: "soon"}, manifest.KindUsage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inv := host(manifest.StoreGraphdriver)
			inv.Releases = []manifest.Release{{Application: "lung", Version: "9.9"}}
			if tt.loaded != "-" {
				inv.Releases = append(inv.Releases, manifest.Release{Application: "liver", Version: tt.loaded, Receipt: "r"})
			}
			_, err := manifest.Diff(manifest.Artifacts{Images: []manifest.Image{image(true, "a")}, Provenance: tt.from}, inv, tt.opt)
			if got := manifest.KindOf(err); got != tt.want {
				t.Errorf("kind %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}
