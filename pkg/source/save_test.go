package source

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/cache"
	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// saved is the image as docker save of Docker 25 and newer writes it: entries in the order of their names.
func (m made) saved() archive {
	a := m.oci("app:1")
	s := savedImage{Config: blobName(m.configDigest())}
	for _, d := range m.diffIDs() {
		s.Layers = append(s.Layers, blobName(d))
	}
	a.add("manifest.json", encode([]savedImage{s}))
	slices.SortFunc(a, func(x, y entry) int { return strings.Compare(x.name, y.name) })
	return slices.CompactFunc(a, func(x, y entry) bool { return x.name == y.name })
}

// savedLegacy is the image as docker save before Docker 25 writes it. ids makes the legacy IDs: as Docker does, or at
// random.
func (m made) savedLegacy(ids func(image map[string]json.RawMessage, n int) string) archive {
	s := savedImage{Config: m.configDigest().Encoded() + ".json"}
	var a archive
	parent := ""
	seen := map[manifest.Digest]string{}
	for n, d := range m.diffIDs() {
		image := map[string]json.RawMessage{"created": quoted("1970-01-01T00:00:00Z"), "container_config": json.RawMessage(`{"Cmd":null,"Tty":false}`), "os": quoted("linux")}
		if parent != "" {
			image["parent"] = quoted(parent)
		}
		id := ids(image, n)
		image["id"] = quoted(id)
		a.add(id+"/VERSION", []byte("1.0"))
		a.add(id+"/json", encode(image))
		name := id + "/layer.tar"
		if first, twice := seen[d]; twice {
			a = append(a, entry{name: name, link: "../" + first})
		} else {
			a.add(name, m.plain[n])
			seen[d] = name
		}
		s.Layers = append(s.Layers, name)
		parent = id
	}
	a.add(s.Config, m.config)
	a.add("manifest.json", encode([]savedImage{s}))
	a.add("repositories", []byte("{}"))
	slices.SortFunc(a, func(x, y entry) int { return strings.Compare(x.name, y.name) })
	return a
}

func (m made) dockerIDs(image map[string]json.RawMessage, n int) string {
	var parent string
	json.Unmarshal(image["parent"], &parent)
	return legacyID(image, parent, manifest.ChainIDs(m.diffIDs())[n], n == len(m.plain)-1)
}

// idsInOrder gives IDs that sort in the order given, so that entries come in any order wanted, and that tell nothing.
func idsInOrder(order ...int) func(map[string]json.RawMessage, int) string {
	return func(_ map[string]json.RawMessage, n int) string { return fmt.Sprintf("%064x", 0xabc000+order[n]) }
}

// savedPodman is the image as podman writes it.
func (m made) savedPodman() archive {
	s := savedImage{Config: m.configDigest().Encoded() + ".json"}
	var a archive
	for n, d := range m.diffIDs() {
		a.add(d.Encoded()+".tar", m.plain[n])
		a = append(a, entry{name: fmt.Sprintf("%064x/layer.tar", n+1), link: "../" + d.Encoded() + ".tar"})
		s.Layers = append(s.Layers, d.Encoded()+".tar")
	}
	a.add(s.Config, m.config)
	a.add("manifest.json", encode([]savedImage{s}))
	return a
}

// hasSaver makes an origin of m whose engine saves what save gives.
func hasSaver(t testing.TB, m made, c *cache.Cache, save func(context.Context) (io.ReadCloser, error)) *saveOrigin {
	o := &saveOrigin{cache: c, where: "test", save: save}
	o.img = engine.Image{ID: string(m.configDigest()), DiffIDs: m.diffIDs(), Platform: manifest.Platform{OS: "linux", Architecture: m.arch}}
	o.img.Config = manifest.Descriptor{Digest: m.configDigest(), Size: manifest.UnknownSize}
	o.history = func(context.Context) ([]int64, error) { return nil, nil }
	o.ctx, o.stop = context.WithCancel(context.Background())
	t.Cleanup(func() { o.close() })
	return o
}

func gives(raw []byte, count *atomic.Int32) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) {
		count.Add(1)
		return io.NopCloser(bytes.NewReader(raw)), nil
	}
}

func newCache(t testing.TB, dir string) *cache.Cache {
	t.Helper()
	c, err := cache.Open(dir, layersRoom)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func readFrom(o *saveOrigin, d manifest.Digest, offset int64) ([]byte, error) {
	r, err := o.open(context.Background(), manifest.Descriptor{Digest: d, Size: manifest.UnknownSize}, offset)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil && offset+int64(len(got)) != r.Size() {
		err = fmt.Errorf("%d bytes from %d of a blob that says it has %d", len(got), offset, r.Size())
	}
	return got, err
}

func TestSave(t *testing.T) {
	three := makeImage(t, 10, 3, "amd64", unchanged)
	twice := three.again(0)
	for name, c := range map[string]struct {
		image made
		save  archive
	}{
		"Docker 25":                       {three, three.saved()},
		"Docker 25, a layer twice":        {twice, twice.saved()},
		"Docker 20":                       {three, three.savedLegacy(three.dockerIDs)},
		"Docker 20, a layer twice":        {twice, twice.savedLegacy(twice.dockerIDs)},
		"unknown IDs, base first":         {three, three.savedLegacy(idsInOrder(1, 2, 3))},
		"unknown IDs, base last":          {three, three.savedLegacy(idsInOrder(3, 2, 1))},
		"unknown IDs, base in between":    {three, three.savedLegacy(idsInOrder(2, 3, 1))},
		"unknown IDs, a link comes first": {twice, twice.savedLegacy(idsInOrder(4, 2, 3, 1))},
		"podman":                          {three, three.savedPodman()},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var saves atomic.Int32
			o := hasSaver(t, c.image, newCache(t, dir), gives(c.save.tar(t), &saves))
			img, err := o.image(t.Context(), want{})
			if err != nil || saves.Load() != 0 {
				t.Fatalf("%v, %d saves", err, saves.Load())
			}
			if img.Layers[0].Size != manifest.UnknownSize || img.Config.Size != manifest.UnknownSize {
				t.Errorf("sizes are told before the save: %v", img)
			}
			checkSaved(t, o, c.image)
			if saves.Load() != 1 {
				t.Errorf("%d saves", saves.Load())
			}
			o.close()
			left, _ := filepath.Glob(filepath.Join(dir, "layers", "tmp-*"))
			if len(left) > 0 {
				t.Errorf("half-written files are left: %v", left)
			}

			again := hasSaver(t, c.image, newCache(t, dir), gives(nil, &saves))
			checkSaved(t, again, c.image)
			if img, err = again.image(t.Context(), want{}); err != nil || img.Layers[1].Size != int64(len(c.image.plain[1])) || img.Config.Size != int64(len(c.image.config)) {
				t.Errorf("sizes of what is in the cache: %v, %v", img, err)
			}
			if saves.Load() != 1 {
				t.Errorf("the second push saved again")
			}
		})
	}
}

// checkSaved reads all blobs at once, from several offsets.
func checkSaved(t *testing.T, o *saveOrigin, m made) {
	t.Helper()
	var all sync.WaitGroup
	for n, d := range append(m.diffIDs(), m.configDigest()) {
		want := m.config
		if n < len(m.plain) {
			want = m.plain[n]
		}
		for _, offset := range []int64{0, 700, int64(len(want))} {
			offset = min(offset, int64(len(want)))
			all.Go(func() {
				if got, err := readFrom(o, d, offset); err != nil || !bytes.Equal(got, want[offset:]) {
					t.Errorf("blob %d from %d: %d bytes, %v", n, offset, len(got), err)
				}
			})
		}
	}
	all.Wait()
}

// A reader gets what has been saved of a layer before the rest is there, whatever the format.
func TestTail(t *testing.T) {
	m := makeImage(t, 11, 3, "amd64", unchanged)
	for name, save := range map[string]archive{
		"Docker 25": m.saved(), "Docker 20": m.savedLegacy(m.dockerIDs), "podman": m.savedPodman(), "unknown IDs": m.savedLegacy(idsInOrder(1, 2, 3)),
	} {
		t.Run(name, func(t *testing.T) {
			r, w := io.Pipe()
			o := hasSaver(t, m, newCache(t, t.TempDir()), func(context.Context) (io.ReadCloser, error) { return r, nil })
			out := tar.NewWriter(w)
			go readFrom(o, m.configDigest(), 0) // starts the save
			for _, e := range save {
				n := slices.IndexFunc(m.plain, func(l []byte) bool { return len(l) > 0 && bytes.Equal(l, e.data) })
				if n < 0 {
					put(t, out, e, e.data)
					continue
				}
				half := len(e.data) / 2
				blob := make(chan manifest.BlobReader)
				go func() {
					b, err := o.open(t.Context(), manifest.Descriptor{Digest: m.diffIDs()[n], Size: manifest.UnknownSize}, 0)
					if err != nil {
						t.Error(err)
					}
					blob <- b
				}()
				put(t, out, e, e.data[:half])
				b := <-blob
				if b.Size() != int64(len(e.data)) {
					t.Errorf("layer %d says it has %d bytes", n, b.Size())
				}
				got := make([]byte, half)
				if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, e.data[:half]) {
					t.Fatalf("first half of layer %d: %v", n, err)
				}
				if _, err := out.Write(e.data[half:]); err != nil {
					t.Fatal(err)
				}
				rest, err := io.ReadAll(b)
				if err != nil || !bytes.Equal(rest, e.data[half:]) {
					t.Errorf("rest of layer %d: %v", n, err)
				}
			}
			out.Close()
			w.Close()
			checkSaved(t, o, m)
		})
	}
}

// put writes an entry's header and the first part of its data.
func put(t *testing.T, w *tar.Writer, e entry, part []byte) {
	t.Helper()
	if err := w.WriteHeader(e.header()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(part); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil && len(part) == len(e.data) {
		t.Fatal(err)
	}
}

func TestBadSave(t *testing.T) {
	m := makeImage(t, 12, 3, "amd64", unchanged)
	other := makeImage(t, 13, 3, "amd64", unchanged)
	whole := m.saved()
	legacy := m.savedLegacy(m.dockerIDs)
	at := func(n int) string { return blobName(m.diffIDs()[n]) }
	for name, c := range map[string]struct {
		save []byte
		kind manifest.Kind
		says string
	}{
		"empty":                    {nil, manifest.KindEngine, "broke off"},
		"cut in a layer":           {whole.tar(t)[:9000], manifest.KindEngine, "broke off"},
		"ends after the layers":    {whole.without("manifest.json").tar(t), manifest.KindEngine, "broke off"},
		"a layer is missing":       {whole.without(at(1)).tar(t), manifest.KindIntegrity, string(m.diffIDs()[1])},
		"a layer is another":       {whole.with(at(1), other.plain[1]).tar(t), manifest.KindIntegrity, string(m.diffIDs()[1])},
		"legacy, layer is another": {legacy.with(string(legacy[2].name), other.plain[2]).tar(t), manifest.KindIntegrity, "digest"},
		"config is another":        {whole.with(blobName(m.configDigest()), other.config).tar(t), manifest.KindIntegrity, "configuration"},
		"the other image":          {other.saved().tar(t), manifest.KindIntegrity, "digest"},
		"fewer layers":             {whole.with("manifest.json", []byte(`[{"Config":"x","Layers":[]}]`)).tar(t), manifest.KindMalformed, "another image"},
		"two images":               {whole.with("manifest.json", []byte(`[{},{}]`)).tar(t), manifest.KindMalformed, "another image"},
		"an entry leads out":       {append(archive{{name: "../x"}}, whole...).tar(t), manifest.KindMalformed, "../x"},
		"a document is huge":       {append(archive{{name: "x.json", data: make([]byte, manifest.MaxDocument+1)}}, whole...).tar(t), manifest.KindMalformed, "x.json"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var saves atomic.Int32
			next := c.save
			o := hasSaver(t, m, newCache(t, dir), func(ctx context.Context) (io.ReadCloser, error) { return gives(next, &saves)(ctx) })
			_, err := readFrom(o, m.configDigest(), 0)
			if manifest.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v; want %s, with %q", manifest.KindOf(err), err, c.kind, c.says)
			}
			waitForSave(o)
			for _, f := range inCache(t, dir) {
				raw, err := os.ReadFile(f)
				if err != nil || digest.FromBytes(raw).Encoded() != filepath.Base(f) {
					t.Errorf("the cache keeps %s, which is not what its name says (%v)", f, err)
				}
			}
			next = whole.tar(t)
			checkSaved(t, o, m)
			if saves.Load() != 2 {
				t.Errorf("%d saves, want one more after the failure", saves.Load())
			}
		})
	}
}

func waitForSave(o *saveOrigin) {
	o.mu.Lock()
	s := o.runs[len(o.runs)-1]
	o.mu.Unlock()
	<-s.done
}

func inCache(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "layers", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A wrong layer is an error for the reader that follows it, and never all of its bytes.
func TestTailOfWrongLayer(t *testing.T) {
	m := makeImage(t, 14, 2, "amd64", unchanged)
	wrong := slices.Clone(m.plain[0])
	wrong[1000] ^= 1
	var saves atomic.Int32
	o := hasSaver(t, m, newCache(t, t.TempDir()), gives(m.saved().with(blobName(m.diffIDs()[0]), wrong).tar(t), &saves))
	got, err := readFrom(o, m.diffIDs()[0], 0)
	if manifest.KindOf(err) != manifest.KindIntegrity || len(got) >= len(wrong) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Closing ends a save that stands still, and everybody who waits for it.
func TestCloseDuringSave(t *testing.T) {
	m := makeImage(t, 15, 2, "amd64", unchanged)
	dir := t.TempDir()
	r, w := io.Pipe()
	o := hasSaver(t, m, newCache(t, dir), func(context.Context) (io.ReadCloser, error) { return r, nil })
	out := tar.NewWriter(w)
	waiting := make(chan error, 2)
	for _, d := range m.diffIDs() {
		go func() {
			_, err := readFrom(o, d, 0)
			waiting <- err
		}()
	}
	save := m.saved()
	for _, e := range save {
		if bytes.Equal(e.data, m.plain[0]) {
			put(t, out, e, e.data[:100])
			break
		}
		put(t, out, e, e.data)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := o.open(ctx, manifest.Descriptor{Digest: m.configDigest(), Size: manifest.UnknownSize}, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a reader with a deadline of its own: %v", err)
	}
	o.close()
	finished := 0
	for range 2 {
		select {
		case err := <-waiting:
			if manifest.KindOf(err) == manifest.KindInterrupted {
				finished++
			} else if err != nil {
				t.Errorf("a reader was told %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("a reader still waits")
		}
	}
	if finished == 0 {
		t.Error("nobody was told of the end")
	}
	for _, f := range inCache(t, dir) {
		if strings.HasPrefix(filepath.Base(f), "tmp-") {
			t.Errorf("%s is left", f)
		}
	}
}
