package bundle

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// TestDamage damages a release and wants to be told what and where.
func TestDamage(t *testing.T) {
	m := draftRelease()
	layer := m.layer(0, 1)
	weights := digest.FromBytes(noiseOf(5, 3000))
	whole := m.tar(t)
	at := func(d manifest.Digest) int { return offsetOf(t, whole, blobPath(d)) + tarBlock + 100 }
	for name, c := range map[string]struct {
		damaged []int // bytes
		says    []string
	}{
		"a layer":    {[]int{at(layer.Digest)}, []string{"layer 1 of app_livertumor:1.2.3 (" + string(layer.Digest) + ") is damaged"}},
		"both":       {[]int{at(layer.Digest), at(weights)}, []string{"layer 1 of app", "1/model.onnx of segmentation"}},
		"a document": {[]int{offsetOf(t, whole, m.named(2)[1].name) + tarBlock}, []string{"the configuration of segmentation"}},
	} {
		t.Run(name, func(t *testing.T) {
			data := bytes.Clone(whole)
			for _, n := range c.damaged {
				data[n] ^= 0x10
			}
			stored := map[string]string{"tar": savedFile(t, data), "parts": cutUp(t, data, 1500), "folder": folderOf(t, m, data)}
			bad, n := cutUp(t, whole, 1500), map[int]bool{} // parts whose list says what they should be
			for _, at := range c.damaged {
				n[at/1500+1] = true
			}
			for part := range n {
				name := fmt.Sprintf("%s.%03d", bad, part)
				saveFile(t, name, data[(part-1)*1500:min(part*1500, len(data))])
			}
			stored["listed parts"] = bad
			for form, path := range stored {
				err := verified(t, path)
				if manifest.KindOf(err) != manifest.KindIntegrity {
					t.Fatalf("%s: %v", form, err)
				}
				for _, s := range c.says {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("%s: %v does not say %q", form, err, s)
					}
				}
				for part := range n {
					s := fmt.Sprintf("in the part release.tar.%03d", part)
					if form == "listed parts" && !strings.Contains(err.Error(), s) {
						t.Errorf("%s: %v; %q", form, err, s)
					}
				}
			}
		})
	}
}

// folderOf is the bundle whose tar is data as a folder.
func folderOf(t *testing.T, m *draft, data []byte) string {
	a := m.entries()
	for n, e := range a {
		at := offsetOf(t, data, e.name) + tarBlock
		a[n].data = data[at : at+len(e.data)]
	}
	return a.folder(t)
}

func verified(t *testing.T, path string) error {
	b, err := Open(t.Context(), path, OpenOptions{})
	if err != nil {
		return err
	}
	defer b.Close()
	return b.Verify(t.Context(), nil, nil)
}

// TestOpenHashesDocuments: a bundle whose manifest or configuration is damaged does not even open.
func TestOpenHashesDocuments(t *testing.T) {
	m := draftRelease()
	for n := range m.index.Manifests {
		for _, doc := range m.named(n)[:2] {
			data := m.tar(t)
			data[offsetOf(t, data, doc.name)+tarBlock] ^= 0x10
			b, err := Open(t.Context(), savedFile(t, data), OpenOptions{})
			if err == nil {
				b.Close()
			}
			if manifest.KindOf(err) != manifest.KindIntegrity || !strings.Contains(err.Error(), "is damaged") {
				t.Errorf("%s of entry %d: %v", doc.name, n, err)
			}
		}
	}
}

// TestVerifyChosen hashes what it is asked to and nothing else.
func TestVerifyChosen(t *testing.T) {
	m := draftRelease()
	layer, other := m.layer(0, 1), m.layer(1, 1)
	whole := m.tar(t)
	whole[offsetOf(t, whole, blobPath(layer.Digest))+tarBlock] ^= 1
	b, err := Open(t.Context(), savedFile(t, whole), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, c := range map[string]struct {
		ctx     context.Context
		digests []manifest.Digest
		kind    manifest.Kind
		total   int64
	}{
		"good":    {t.Context(), []manifest.Digest{other.Digest}, "", other.Size},
		"twice":   {t.Context(), []manifest.Digest{other.Digest, other.Digest}, "", other.Size},
		"none":    {t.Context(), []manifest.Digest{}, "", 0},
		"bad":     {t.Context(), []manifest.Digest{other.Digest, layer.Digest}, manifest.KindIntegrity, other.Size + layer.Size},
		"all":     {t.Context(), nil, manifest.KindIntegrity, b.Contents().Size},
		"foreign": {t.Context(), []manifest.Digest{digest.FromString("x")}, manifest.KindNotFound, 0},
		"no one":  {t.Context(), []manifest.Digest{"sha256:../x"}, manifest.KindMalformed, 0},
		"stopped": {stopped, nil, manifest.KindInterrupted, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var last manifest.Event
			err := b.Verify(c.ctx, c.digests, func(e manifest.Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.Done > last.Done {
					last = e
				}
			})
			if manifest.KindOf(err) != c.kind {
				t.Errorf("%v, want %s", err, c.kind)
			}
			if last.Done != c.total || last.Total != c.total {
				t.Errorf("%d of %d bytes were told, want %d", last.Done, last.Total, c.total)
			}
		})
	}
}

// TestManyDamaged names some and counts the others.
func TestManyDamaged(t *testing.T) {
	m := newDraft()
	files := map[string]string{}
	for n := range mostNamed + 5 {
		files[fmt.Sprintf("f%03d", n)] = fmt.Sprint("weights ", n)
	}
	m.model("many", files)
	data := m.tar(t)
	for _, content := range files {
		data[offsetOf(t, data, blobPath(digest.FromString(content)))+tarBlock] = 'W'
	}
	err := verified(t, savedFile(t, data))
	if err == nil || strings.Count(err.Error(), "is damaged") != mostNamed || !strings.Contains(err.Error(), "; and 5 more") {
		t.Errorf("it says %v", err)
	}
}

// TestOtherAnswer has the medium answer differently once the bundle is open.
func TestOtherAnswer(t *testing.T) {
	m := draftRelease()
	layer := m.layer(0, 0)
	forms := map[string]struct{ path, file string }{}
	tar, dir := savedFile(t, m.tar(t)), m.entries().folder(t)
	forms["tar"] = struct{ path, file string }{tar, tar}
	forms["folder"] = struct{ path, file string }{dir, filepath.Join(dir, filepath.FromSlash(blobPath(layer.Digest)))}
	for form, f := range forms {
		for name, change := range map[string]func(data []byte) []byte{
			"other": func(d []byte) []byte { return bytes.ReplaceAll(d, m.data(layer.Digest), flipped(m.data(layer.Digest))) },
			"short": func(d []byte) []byte { return d[:bytes.Index(d, m.data(layer.Digest))+10] },
			"long": func(d []byte) []byte {
				return append(bytes.ReplaceAll(d, m.data(layer.Digest), flipped(m.data(layer.Digest))), 'x')
			},
		} {
			t.Run(form+" "+name, func(t *testing.T) {
				before, err := os.ReadFile(f.file)
				if err != nil {
					t.Fatal(err)
				}
				defer saveFile(t, f.file, before)
				b, err := Open(t.Context(), f.path, OpenOptions{})
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				saveFile(t, f.file, change(before))
				got, err := readBlob(t, b, layer.Digest, 0)
				if manifest.KindOf(err) != manifest.KindIntegrity || len(got) >= int(layer.Size) {
					t.Errorf("%d bytes of %d, %v", len(got), layer.Size, err)
				}
				if err := b.Verify(t.Context(), []manifest.Digest{layer.Digest}, nil); manifest.KindOf(err) != manifest.KindIntegrity {
					t.Errorf("verify says %v", err)
				}
			})
		}
	}
}

// TestReadTogether reads blobs from many goroutines at once.
func TestReadTogether(t *testing.T) {
	m := draftRelease()
	for form, path := range map[string]string{"tar": savedFile(t, m.tar(t)), "parts": cutUp(t, m.tar(t), 777), "folder": m.entries().folder(t)} {
		b, err := Open(t.Context(), path, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for n := range 40 {
			wg.Go(func() {
				e := m.blobs[n%len(m.blobs)]
				d, _ := blobDigest(e.name)
				r, err := b.Open(t.Context(), manifest.Descriptor{Digest: d, Size: int64(len(e.data))}, 0)
				if err != nil {
					t.Error(form, err)
					return
				}
				defer r.Close()
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, e.data) || r.Size() != int64(len(e.data)) {
					t.Error(form, err)
				}
			})
		}
		wg.Wait()
		b.Close()
	}
}

// TestOpenBlobRefuses asks for what is not there.
func TestOpenBlobRefuses(t *testing.T) {
	m := draftRelease()
	layer := m.layer(0, 0)
	b, err := Open(t.Context(), savedFile(t, m.tar(t)), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for name, c := range map[string]struct {
		d      manifest.Descriptor
		offset int64
		kind   manifest.Kind
	}{
		"foreign":    {manifest.Descriptor{Digest: digest.FromString("x"), Size: 1}, 0, manifest.KindNotFound},
		"a path":     {manifest.Descriptor{Digest: "sha256:../../x", Size: 1}, 0, manifest.KindMalformed},
		"other size": {manifest.Descriptor{Digest: layer.Digest, Size: layer.Size + 1}, 0, manifest.KindIntegrity},
		"behind it":  {layer, layer.Size + 1, manifest.KindInternal},
		"before it":  {layer, -1, manifest.KindInternal},
	} {
		if _, err := b.Open(t.Context(), c.d, c.offset); manifest.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %s", name, err, c.kind)
		}
	}
}
