package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestHostRef(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for name, want := range map[string]string{
		"app_livertumor":                  "app_livertumor:latest",
		"app:1":                           "app:1",
		"docker.io/library/app:1":         "app:1",
		"index.docker.io/library/app:1":   "app:1",
		"docker.io/team/app":              "team/app:latest",
		"registry.example.com/a/b:1":      "registry.example.com/a/b:1",
		"registry.example.com:5000/a":     "registry.example.com:5000/a:latest",
		"app:1" + digest:                  "app:1",
		"app" + digest:                    "",
		"App":                             "",
		"app:1:2":                         "",
		"":                                "",
		strings.Repeat("a", 64):           "", // an image ID
		"../app":                          "",
		"sha256:" + digest[8:]:            "",
		"app 1":                           "",
		"registry.example.com/a:1\x1b[2J": "",
	} {
		got, err := hostRef(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("hostRef(%q) = %q, %v; want %q", name, got, err, want)
		}
		if err != nil && manifest.KindOf(err) != manifest.KindUsage {
			t.Errorf("hostRef(%q) fails with %s", name, manifest.KindOf(err))
		}
	}
}

func TestPlaceOf(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"app", "there.tar", "dist:1"} {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]struct {
		place place
		rest  string
	}{
		"app":                      {anywhere, "app"}, // though there is a file of that name
		"app:1":                    {anywhere, "app:1"},
		"team/app:1":               {anywhere, "team/app:1"},
		"localhost:5000/app:1":     {anywhere, "localhost:5000/app:1"},
		"engine://app:1":           {inEngine, "app:1"},
		"registry://app:1":         {inRegistry, "app:1"},
		"archive:app":              {inArchive, "app"},
		"layout:dir:1":             {inLayout, "dir:1"},
		"./app":                    {inPath, "./app"},
		"../app":                   {inPath, "../app"},
		"/tmp/app":                 {inPath, "/tmp/app"},
		"~/app":                    {inPath, "~/app"},
		"there.tar":                {inPath, "there.tar"},
		"there.tar:app:1":          {inPath, "there.tar:app:1"},
		"dist/missing.tar.gz":      {inPath, "dist/missing.tar.gz"},
		"dist/missing.TGZ":         {inPath, "dist/missing.TGZ"},
		"dist/missing.tar.zst:app": {inPath, "dist/missing.tar.zst:app"},
		"team/app.tarball:1":       {anywhere, "team/app.tarball:1"},
	} {
		if p, rest := placeOf(name); p != want.place || rest != want.rest {
			t.Errorf("placeOf(%q) = %q, %q; want %q, %q", name, p, rest, want.place, want.rest)
		}
	}
}

func TestSplitPath(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a", "a:1", "b.tar", "dir/x"} {
		os.MkdirAll(filepath.Dir(name), 0o755)
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][2]string{
		"a":                          {"a", ""},
		"a:1":                        {"a:1", ""},
		"a:1:2":                      {"a:1", "2"},
		"a:2":                        {"a", "2"},
		"b.tar:localhost:5000/app:1": {"b.tar", "localhost:5000/app:1"},
		"dir:1":                      {"dir", "1"},
		"c:1":                        {"c:1", ""},
		"c.tar:1":                    {"c.tar", "1"},
		"dir/x:app@sha256:abc":       {"dir/x", "app@sha256:abc"},
	} {
		if path, ref := splitPath(name); path != want[0] || ref != want[1] {
			t.Errorf("splitPath(%q) = %q, %q; want %q", name, path, ref, want)
		}
	}
}

func TestNameOf(t *testing.T) {
	id := "sha256:cafe" + strings.Repeat("0", 60)
	for name, c := range map[string]struct {
		refs []string
		want string
	}{
		"app:1":  {[]string{"app:1"}, "app:1"},
		id:       {[]string{"app:1"}, "app:1"},
		id[7:19]: {[]string{"app:1"}, "app:1"},
		"cafe":   {[]string{"app:1", "app:2"}, ""},
		"cafe0":  {nil, ""},
		"cafe00": {[]string{"cafe00:latest", "app:1"}, "cafe00"}, // a name that looks like an ID
	} {
		if got := nameOf(name, engine.Image{ID: id, Refs: c.refs}); got != c.want {
			t.Errorf("nameOf(%q, %v) = %q, want %q", name, c.refs, got, c.want)
		}
	}
}

// noEngine makes sure that no engine of this machine is asked.
func noEngine(t *testing.T) { t.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock") }

// Names on the host: the one asked for, the archive's, or a failure that says what to do.
func TestNaming(t *testing.T) {
	noEngine(t)
	m := makeImage(t, 20, 1, "amd64", gzipped)
	other := makeImage(t, 21, 1, "amd64", gzipped)
	blobs, first := m.blobs()
	more, second := other.blobs()
	both := append(blobs, more...)
	two := file(t, "two.tar", layout(both, nameIt(first, "docker.io/library/app:1"), nameIt(second, "registry.example.com/b:2")).tar(t))
	bareTag := first
	bareTag.Annotations = map[string]string{"org.opencontainers.image.ref.name": "latest"}
	tagged := file(t, "tagged.tar", layout(blobs, bareTag).tar(t))
	docker := file(t, "docker.tar", m.docker("app:1", "app:2").tar(t))
	nameless := file(t, "nameless.tar", m.docker().tar(t))
	evil := file(t, "evil.tar", m.docker("app:1\x1b[2J").tar(t))
	for name, c := range map[string]struct {
		path, as string
		ref      string
		kind     manifest.Kind
		says     string
	}{
		"one of two":              {two + ":app:1", "", "app:1", "", ""},
		"one of two, full name":   {two + ":docker.io/library/app:1", "", "app:1", "", ""},
		"the other":               {"archive:" + two + ":registry.example.com/b:2", "", "registry.example.com/b:2", "", ""},
		"by digest":               {two + ":" + string(second.Digest), "", "registry.example.com/b:2", "", ""},
		"which of two":            {two, "", "", manifest.KindUsage, "app:1, registry.example.com/b:2"},
		"neither of two":          {two + ":c:3", "", "", manifest.KindNotFound, "no image c:3"},
		"renamed":                 {two + ":app:1", "app_livertumor", "app_livertumor:latest", "", ""},
		"a tag is no name":        {tagged, "", "", manifest.KindUsage, "no name"},
		"a tag finds it":          {tagged + ":latest", "x:1", "x:1", "", ""},
		"docker, two tags":        {docker, "", "", manifest.KindUsage, "app:1, app:2"},
		"docker, one of two tags": {docker + ":app:2", "", "app:2", "", ""},
		"docker, no tag":          {nameless, "", "", manifest.KindUsage, "no name"},
		"docker, no tag, named":   {nameless, "team/app:3", "team/app:3", "", ""},
		"docker, hostile tag":     {evil, "", "", manifest.KindUsage, "not an image name"},
		"bad --as":                {nameless, "No Name", "", manifest.KindUsage, "not an image name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, img, err := one(t, Options{As: c.as}, c.path)
			if img.Ref != c.ref || manifest.KindOf(err) != c.kind {
				t.Fatalf("%q, %v; want %q, %s", img.Ref, err, c.ref, c.kind)
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q in it", err, c.says)
			}
			var f *manifest.Failure
			if errors.As(err, &f) && (strings.ContainsRune(f.Error(), 0x1b) || (f.Kind == manifest.KindUsage && f.Hint == "")) {
				t.Errorf("%q, hint %q", f.Error(), f.Hint)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	noEngine(t)
	m := makeImage(t, 22, 1, "amd64", unchanged)
	a, b := file(t, "a.tar", m.docker("app:1").tar(t)), file(t, "b.tar", m.docker("docker.io/library/app:1").tar(t))
	dir := t.TempDir()
	for name, c := range map[string]struct {
		names []string
		as    string
		kind  manifest.Kind
	}{
		"no name":                  {nil, "", manifest.KindUsage},
		"--as for two":             {[]string{a, b}, "x:1", manifest.KindUsage},
		"--as with a digest":       {[]string{a}, "app:1@sha256:" + strings.Repeat("a", 64), manifest.KindUsage},
		"one name for two":         {[]string{a, b}, "", manifest.KindUsage},
		"no such file":             {[]string{"./gone.tar"}, "", manifest.KindNotFound},
		"no such archive":          {[]string{"archive:gone"}, "", manifest.KindNotFound},
		"a folder as archive":      {[]string{"archive:" + dir}, "", manifest.KindUsage},
		"a file as layout":         {[]string{"layout:" + a}, "", manifest.KindUsage},
		"a folder that is nothing": {[]string{"layout:" + dir}, "", manifest.KindMalformed},
		"a device":                 {[]string{"/dev/null"}, "", manifest.KindUsage},
		"no engine":                {[]string{"engine://app:1"}, "", manifest.KindPermission},
		"no name in a registry":    {[]string{"registry://App"}, "", manifest.KindUsage},
		"nobody listens":           {[]string{"registry://127.0.0.1:1/app:1"}, "", manifest.KindConnect},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := open(t, Options{As: c.as}, c.names...)
			if err == nil {
				_, err = s.Artifacts(t.Context(), manifest.Platform{})
			}
			if manifest.KindOf(err) != c.kind {
				t.Errorf("%s: %v; want %s", manifest.KindOf(err), err, c.kind)
			}
		})
	}
}

// What a hint says must work when it is done.
func TestHintsOfThisMachine(t *testing.T) {
	noEngine(t)
	m, n := makeImage(t, 23, 1, "amd64", unchanged), makeImage(t, 24, 1, "amd64", unchanged)
	blobs, one := m.blobs()
	more, two := n.blobs()
	both := layout(append(blobs, more...), nameIt(one, "docker.io/library/one:1"), nameIt(two, "docker.io/library/two:1"))
	dir, tar := both.folder(t), file(t, "both.tar", both.tar(t))
	for name, c := range map[string]struct{ image, engine, hint string }{
		"several in a layout":   {dir, "", "say which: layout:" + dir + ":docker.io/library/one:1"},
		"several in an archive": {tar, "", "say which: archive:" + tar + ":docker.io/library/one:1"},
		"no socket":             {"engine://app:1", "unix:///gone", "start the engine, or name its socket with --engine unix:///path/of/docker.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := open(t, Options{Engine: c.engine}, c.image)
			if err == nil {
				_, err = s.Artifacts(t.Context(), manifest.Platform{})
			}
			if hintOf(err) != c.hint {
				t.Errorf("%v: the hint is %q, want %q", err, hintOf(err), c.hint)
			}
		})
	}
}

// A failure that was tried again passes here several times.
func TestAboutNamesOnce(t *testing.T) {
	err := about(about(manifest.Fail(manifest.KindConnect, "read blob", "no answer"), "app:1"), "app:1")
	if want := "read blob app:1: no answer"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}
