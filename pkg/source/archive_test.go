package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// open opens names with a private cache.
func open(t testing.TB, o Options, names ...string) (*Images, error) {
	t.Helper()
	if o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	s, err := Open(t.Context(), names, o)
	if err == nil {
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	return s, err
}

// one opens a single image and describes it.
func one(t testing.TB, o Options, name string) (*Images, manifest.Image, error) {
	t.Helper()
	s, err := open(t, o, name)
	if err != nil {
		return nil, manifest.Image{}, err
	}
	a, err := s.Artifacts(t.Context(), manifest.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil {
		return s, manifest.Image{}, err
	}
	return s, a.Images[0], nil
}

func read(s *Images, d manifest.Descriptor, offset int64) ([]byte, error) {
	r, err := s.Open(context.Background(), d, offset)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if d.Size != manifest.UnknownSize && r.Size() != d.Size {
		return nil, errors.New("the reader tells another size than the descriptor")
	}
	return io.ReadAll(r)
}

// readsAs checks that the blob d reads as data from its start, its middle and its end.
func readsAs(t testing.TB, s *Images, d manifest.Descriptor, data []byte) {
	t.Helper()
	for _, offset := range []int64{0, 1, int64(len(data) / 2), int64(len(data))} {
		got, err := read(s, d, offset)
		if err != nil {
			t.Errorf("%s from %d: %v", d.Digest, offset, err)
		} else if !bytes.Equal(got, data[offset:]) {
			t.Errorf("%s from %d: %d bytes that are not the blob's", d.Digest, offset, len(got))
		}
	}
}

func TestArchives(t *testing.T) {
	plainImage := makeImage(t, 1, 3, "amd64", unchanged)
	gzipImage := makeImage(t, 1, 3, "amd64", gzipped)
	zstdImage := makeImage(t, 1, 3, "amd64", zstded)
	hybrid := func(m made) archive { return append(m.docker("app:1"), m.oci("docker.io/library/app:1")...) }
	dotted := func(a archive) archive {
		for n := range a {
			a[n].name = "./" + a[n].name
		}
		return append(archive{{name: "./", kind: '5'}}, a...)
	}
	for name, c := range map[string]struct {
		image  made
		path   string
		origin string
		oci    bool
	}{
		"docker":                   {plainImage, file(t, "a.tar", plainImage.docker("app:1").tar(t)), "Docker archive", false},
		"docker, gzip":             {plainImage, file(t, "a.tar.gz", gzipped(plainImage.docker("app:1").tar(t))), "Docker archive", false},
		"docker, zstd":             {plainImage, file(t, "a.tar.zst", zstded(plainImage.docker("app:1").tar(t))), "Docker archive", false},
		"docker, layers gzip":      {gzipImage, file(t, "a.tar", gzipImage.docker("app:1").tar(t)), "Docker archive", false},
		"docker, layers zstd":      {zstdImage, file(t, "a.tar", zstdImage.docker("app:1").tar(t)), "Docker archive", false},
		"docker, ./ before names":  {plainImage, file(t, "a.tar", dotted(plainImage.docker("app:1")).tar(t)), "Docker archive", false},
		"docker, file has no type": {plainImage, file(t, "a.img", plainImage.docker("app:1").tar(t)), "Docker archive", false},
		"OCI":                      {gzipImage, file(t, "a.tar", gzipImage.oci("app:1").tar(t)), "OCI archive", true},
		"OCI, gzip":                {gzipImage, file(t, "a.tgz", gzipped(gzipImage.oci("app:1").tar(t))), "OCI archive", true},
		"OCI, zstd":                {zstdImage, file(t, "a.tzst", zstded(zstdImage.oci("app:1").tar(t))), "OCI archive", true},
		"OCI, layers plain":        {plainImage, file(t, "a.tar", plainImage.oci("app:1").tar(t)), "OCI archive", true},
		"both":                     {plainImage, file(t, "a.tar", hybrid(plainImage).tar(t)), "OCI archive", true},
		"layout":                   {gzipImage, gzipImage.oci("docker.io/library/app:1").folder(t), "OCI layout", true},
	} {
		t.Run(name, func(t *testing.T) {
			s, img, err := one(t, Options{}, c.path)
			if err != nil {
				t.Fatal(err)
			}
			if img.Ref != "app:1" || img.Origin != c.origin+" "+c.path || img.Platform.Architecture != "amd64" {
				t.Errorf("ref %q, origin %q, platform %v", img.Ref, img.Origin, img.Platform)
			}
			if !slices.Equal(img.DiffIDs(), c.image.diffIDs()) {
				t.Errorf("diffIDs %v, want %v", img.DiffIDs(), c.image.diffIDs())
			}
			if c.oci {
				raw := encode(c.image.manifestOf())
				if img.Manifest.Digest != digest.FromBytes(raw) {
					t.Errorf("manifest %v", img.Manifest)
				}
				readsAs(t, s, img.Manifest, raw)
			} else if img.Manifest.Digest != "" {
				t.Errorf("manifest %v of an archive that has none", img.Manifest)
			}
			readsAs(t, s, img.Config, c.image.config)
			var all sync.WaitGroup
			for n, l := range img.Layers {
				if l.MediaType != c.image.types[n] || l.Digest != digest.FromBytes(c.image.layers[n]) {
					t.Errorf("layer %d is %v", n, l.Descriptor)
				}
				all.Go(func() { readsAs(t, s, l.Descriptor, c.image.layers[n]) })
			}
			all.Wait()
		})
	}
}

// Equal layers are links in the archives of Docker before 25 and of podman.
func TestLinkedLayers(t *testing.T) {
	m := makeImage(t, 2, 2, "amd64", unchanged).again(0)
	for name, link := range map[string]entry{
		"symbolic": {link: "../" + strings.Repeat("0", 63) + "1/layer.tar"},
		"hard":     {link: strings.Repeat("0", 63) + "1/layer.tar", hard: true},
	} {
		t.Run(name, func(t *testing.T) {
			a := m.docker("app:1")
			link.name = strings.Repeat("0", 63) + "3/layer.tar"
			a[a.index(link.name)] = link
			s, img, err := one(t, Options{}, file(t, "a.tar", a.tar(t)))
			if err != nil {
				t.Fatal(err)
			}
			if img.Layers[0].Digest != img.Layers[2].Digest {
				t.Errorf("layers %v", img.DiffIDs())
			}
			readsAs(t, s, img.Layers[2].Descriptor, m.plain[0])
		})
	}
}

// A compressed archive leaves nothing in the cache folder when it is closed.
func TestSpoolIsRemoved(t *testing.T) {
	m := makeImage(t, 1, 2, "amd64", unchanged)
	cache := t.TempDir()
	s, err := Open(t.Context(), []string{file(t, "a.tar.gz", gzipped(m.docker("app:1").tar(t)))}, Options{CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	count := func() int {
		left, _ := filepath.Glob(filepath.Join(cache, "layers", "*"))
		return len(left)
	}
	if count() != 1 {
		t.Errorf("%d files while it is open, want the spooled archive", count())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if count() != 0 {
		t.Errorf("%d files are left", count())
	}
	if info, err := os.Stat(filepath.Join(cache, "layers")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("cache folder: %v, %v", info.Mode(), err)
	}
}

func TestHostileArchives(t *testing.T) {
	m := makeImage(t, 3, 2, "amd64", unchanged)
	z := makeImage(t, 3, 2, "amd64", gzipped)
	first := strings.Repeat("0", 63) + "1/layer.tar"
	docker, oci := m.docker("app:1"), z.oci("app:1")
	layerBlob := blobName(digest.FromBytes(z.layers[1]))
	raw := encode(z.manifestOf())
	manifestBlob := blobName(digest.FromBytes(raw))
	flip := func(data []byte) []byte {
		data = slices.Clone(data)
		data[len(data)/2] ^= 1
		return data
	}
	// of makes an OCI layout around a manifest of any bytes.
	of := func(raw []byte) archive {
		blobs, _ := z.blobs()
		return layout(blobs.with(blobName(digest.FromBytes(raw)), raw), nameIt(describe("application/vnd.oci.image.manifest.v1+json", raw), "app:1"))
	}
	mutate := func(change func(d *manifest.Document)) archive {
		var d manifest.Document
		d, err := manifest.ParseDocument(raw, "")
		if err != nil {
			t.Fatal(err)
		}
		change(&d)
		return of(encode(d))
	}
	big := bytes.Repeat([]byte(" "), manifest.MaxDocument+1)
	for name, c := range map[string]struct {
		tar  []byte
		kind manifest.Kind
		says string
	}{
		"not a tar":               {[]byte(strings.Repeat("no tar at all ", 100)), manifest.KindMalformed, "read archive"},
		"empty":                   {nil, manifest.KindMalformed, "neither oci-layout nor manifest.json"},
		"another tar":             {archive{{name: "readme", data: []byte("hello")}}.tar(t), manifest.KindMalformed, "neither"},
		"xz":                      {[]byte("\xfd7zXZ\x00 and more"), manifest.KindMalformed, "xz"},
		"broken gzip":             {gzipped(docker.tar(t))[:2000], manifest.KindMalformed, "unexpected EOF"},
		"broken zstd":             {zstded(docker.tar(t))[:2000], manifest.KindMalformed, "EOF"},
		"cut in a layer":          {docker.tar(t)[:5000], manifest.KindMalformed, "ends within"},
		"size lies":               {lieAboutSize(docker.tar(t)), manifest.KindMalformed, "ends within"},
		"absolute name":           {append(archive{{name: "/etc/passwd"}}, docker...).tar(t), manifest.KindMalformed, "/etc/passwd"},
		"name leads out":          {append(archive{{name: "../x"}}, docker...).tar(t), manifest.KindMalformed, "../x"},
		"name leads out later":    {append(archive{{name: "a/../../x"}}, docker...).tar(t), manifest.KindMalformed, "../x"},
		"backslash":               {append(archive{{name: `..\x`}}, docker...).tar(t), manifest.KindMalformed, "entry named"},
		"same name twice":         {append(archive{{name: first, data: m.plain[1]}}, docker...).tar(t), manifest.KindMalformed, "two entries"},
		"same name, other form":   {append(archive{{name: "./x/../manifest.json"}}, docker...).tar(t), manifest.KindMalformed, "two entries"},
		"device":                  {append(archive{{name: "dev", kind: '3'}}, docker...).tar(t), manifest.KindMalformed, "neither a file nor a folder"},
		"link leads out":          {append(archive{{name: "a/b", link: "../../etc/passwd"}}, docker...).tar(t), manifest.KindMalformed, "passwd"},
		"absolute link":           {append(archive{{name: "a/b", link: "/etc/passwd"}}, docker...).tar(t), manifest.KindMalformed, "/etc/passwd"},
		"links in a circle":       {append(archive{{name: first, link: "../x"}, {name: "x", link: first}}, docker.without(first)...).tar(t), manifest.KindMalformed, "without end"},
		"link to itself":          {append(archive{{name: first, link: "layer.tar"}}, docker.without(first)...).tar(t), manifest.KindMalformed, "without end"},
		"link to nothing":         {append(archive{{name: first, link: "../gone"}}, docker.without(first)...).tar(t), manifest.KindNotFound, "missing"},
		"layer missing":           {docker.without(first).tar(t), manifest.KindNotFound, string(m.diffIDs()[0])},
		"config missing":          {docker.without(m.configDigest().Encoded() + ".json").tar(t), manifest.KindNotFound, "configuration"},
		"wrong config":            {docker.with(m.configDigest().Encoded()+".json", flip(m.config)).tar(t), manifest.KindIntegrity, "configuration"},
		"config is no JSON":       {docker.with("manifest.json", []byte(`[{"Config":"c","Layers":[]}]`)).with("c", []byte("no")).tar(t), manifest.KindMalformed, "not JSON"},
		"config is huge":          {docker.with(m.configDigest().Encoded()+".json", big).tar(t), manifest.KindMalformed, "more than"},
		"manifest.json is no":     {docker.with("manifest.json", []byte(`{"Config":"c"}`)).tar(t), manifest.KindMalformed, "not a list"},
		"manifest.json is huge":   {docker.with("manifest.json", big).tar(t), manifest.KindMalformed, "more than"},
		"manifest.json is empty":  {docker.with("manifest.json", []byte(`[]`)).tar(t), manifest.KindNotFound, "no image"},
		"layers do not pair":      {docker.with("manifest.json", encode([]savedImage{{Config: m.configDigest().Encoded() + ".json", Layers: []string{first}}})).tar(t), manifest.KindMalformed, "1 layers"},
		"layer path leads out":    {docker.with("manifest.json", encode([]savedImage{{Config: "../../c", Layers: []string{first}}})).tar(t), manifest.KindMalformed, "../../c"},
		"layer is xz":             {docker.with(first, []byte("\xfd7zXZ\x00 and more")).tar(t), manifest.KindMalformed, "xz"},
		"OCI, no index":           {oci.without("index.json").tar(t), manifest.KindMalformed, "no index.json"},
		"OCI, index is no JSON":   {oci.with("index.json", []byte("no")).tar(t), manifest.KindMalformed, "not JSON"},
		"OCI, index is huge":      {oci.with("index.json", big).tar(t), manifest.KindMalformed, "more than"},
		"OCI, index is empty":     {oci.with("index.json", []byte(`{"schemaVersion":2,"manifests":[]}`)).tar(t), manifest.KindNotFound, "no container image"},
		"OCI, digest is a path":   {oci.with("index.json", []byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:../../../../etc/passwd","size":3}]}`)).tar(t), manifest.KindMalformed, "not a sha256 digest"},
		"OCI, manifest missing":   {oci.without(manifestBlob).tar(t), manifest.KindNotFound, "missing"},
		"OCI, manifest wrong":     {oci.with(manifestBlob, flip(raw)).tar(t), manifest.KindIntegrity, "have the digest"},
		"OCI, layer missing":      {oci.without(layerBlob).tar(t), manifest.KindNotFound, string(digest.FromBytes(z.layers[1]))},
		"OCI, layer is shorter":   {oci.with(layerBlob, z.layers[1][1:]).tar(t), manifest.KindIntegrity, "bytes, not"},
		"OCI, config wrong":       {oci.with(blobName(z.configDigest()), flip(z.config)).tar(t), manifest.KindIntegrity, "have the digest"},
		"OCI, both at once":       {mutate(func(d *manifest.Document) { d.Manifests = []manifest.Descriptor{{Digest: z.configDigest()}} }).tar(t), manifest.KindMalformed, "at once"},
		"OCI, neither":            {of([]byte(`{"schemaVersion":2}`)).tar(t), manifest.KindMalformed, "neither a manifest nor an index"},
		"OCI, schema 1":           {of([]byte(`{"schemaVersion":1,"fsLayers":[]}`)).tar(t), manifest.KindMalformed, "schema 1"},
		"OCI, type lies":          {mutate(func(d *manifest.Document) { d.MediaType = "application/vnd.oci.image.index.v1+json" }).tar(t), manifest.KindMalformed, "media type"},
		"OCI, a layer too few":    {mutate(func(d *manifest.Document) { d.Layers = d.Layers[:1] }).tar(t), manifest.KindMalformed, "1 layers"},
		"OCI, layer is encrypted": {mutate(func(d *manifest.Document) { d.Layers[0].MediaType += "+encrypted" }).tar(t), manifest.KindMalformed, "encrypted"},
		"OCI, negative size":      {mutate(func(d *manifest.Document) { d.Layers[0].Size = -5 }).tar(t), manifest.KindMalformed, "-5 bytes"},
		"OCI, other hash":         {mutate(func(d *manifest.Document) { d.Layers[0].Digest = "sha512:aa" }).tar(t), manifest.KindMalformed, "not a sha256 digest"},
		"OCI, no image":           {mutate(func(d *manifest.Document) { d.Config.MediaType = "application/vnd.cncf.model.config.v1+json" }).tar(t), manifest.KindNotFound, "no container image"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := one(t, Options{}, "archive:"+file(t, "a", c.tar))
			if manifest.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v; want %s, with %q", manifest.KindOf(err), err, c.kind, c.says)
			}
		})
	}
}

// lieAboutSize makes the first header claim more than the archive has.
func lieAboutSize(raw []byte) []byte {
	copy(raw[124:136], "77777777777\x00")
	sum := 0
	copy(raw[148:156], "        ")
	for _, b := range raw[:512] {
		sum += int(b)
	}
	octal := []byte("000000\x00 ")
	for i := 5; sum > 0; i-- {
		octal[i] = '0' + byte(sum%8)
		sum /= 8
	}
	copy(raw[148:156], octal)
	return raw
}

// A layer that is not what the configuration says is found by whoever reads it.
func TestWrongLayer(t *testing.T) {
	m := makeImage(t, 4, 2, "amd64", unchanged)
	other := makeImage(t, 5, 2, "amd64", unchanged)
	s, img, err := one(t, Options{}, file(t, "a.tar", m.docker("app:1").with(strings.Repeat("0", 63)+"2/layer.tar", other.plain[1]).tar(t)))
	if err != nil {
		t.Fatal(err)
	}
	readsAs(t, s, img.Layers[0].Descriptor, m.plain[0])
	got, err := read(s, img.Layers[1].Descriptor, 0)
	if manifest.KindOf(err) != manifest.KindIntegrity || len(got) == len(other.plain[1]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
