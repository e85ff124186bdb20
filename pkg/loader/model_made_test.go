//go:build linux

package loader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A tree is a model directory: contents by slash path. A path that ends in a slash is an empty directory.
type tree map[string]string

// with returns a copy in which more is set; an empty content takes the path away.
func (tr tree) with(more tree) tree {
	out := maps.Clone(tr)
	for p, c := range more {
		if c == "" && !strings.HasSuffix(p, "/") {
			delete(out, p)
		} else {
			out[p] = c
		}
	}
	return out
}

func (tr tree) model(name string) manifest.Model {
	m := manifest.Model{Name: name}
	dirs := map[string]bool{}
	for p, c := range tr {
		for d := path.Dir(p); d != "."; d = path.Dir(d) {
			dirs[d] = true
		}
		if !strings.HasSuffix(p, "/") {
			m.Files = append(m.Files, manifest.File{Path: p, Descriptor: descriptorOf(c)})
		}
	}
	m.Dirs = slices.Sorted(maps.Keys(dirs))
	slices.SortFunc(m.Files, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	return m
}

func descriptorOf(content string) manifest.Descriptor {
	sum := sha256.Sum256([]byte(content))
	return manifest.Descriptor{Digest: manifest.Digest("sha256:" + hex.EncodeToString(sum[:])), Size: int64(len(content))}
}

var baseTree = tree{
	"config.pbtxt": "name: \"m\"", "labels.txt": "liver", "1/model.graphdef": "weights one", "1/empty/": "", "2/model.graphdef": "weights two",
	"2/sub/part.bin": "part",
}

var large = strings.Repeat("large file ", 1<<20) // 11 MiB: three chunks

// readTree reads a directory as a tree, and checks modes.
func readTree(t testing.TB, root string) tree {
	t.Helper()
	tr := tree{}
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if e.IsDir() {
			if info.Mode().Perm() != dirMode {
				t.Errorf("%s has mode %v", p, info.Mode())
			}
			if below, err := os.ReadDir(p); err == nil && len(below) == 0 {
				tr[filepath.ToSlash(rel)+"/"] = ""
			}
			return nil
		}
		if info.Mode() != fileMode {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
		raw, err := os.ReadFile(p)
		tr[filepath.ToSlash(rel)] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// A placer pushes trees to a repository on this machine.
type placer struct {
	t    testing.TB
	repo string // of the models
	dir  string // parent of repo
}

func newPlacer(t testing.TB) *placer {
	t.Helper()
	dir := t.TempDir()
	p := &placer{t: t, dir: dir, repo: filepath.Join(dir, "models")}
	if err := os.Mkdir(p.repo, 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *placer) at(model string) string { return filepath.Join(p.repo, model) }
func (p *placer) own(path ...string) string {
	return filepath.Join(append([]string{p.dir, stageName, "models"}, path...)...)
}

func (p *placer) open() *Host {
	p.t.Helper()
	h, err := Open(context.Background(), Options{NoEngine: true, StateDir: filepath.Join(p.dir, "state"), Repository: p.repo})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { h.Close() })
	return h
}

// plan asks h and decides, as transfer.Push does.
func plan(h *Host, o manifest.Options, contents map[manifest.Digest]string, models ...manifest.Model) (manifest.Plan, error) {
	a := manifest.Artifacts{Models: models}
	inv, err := h.Inventory(context.Background(), manifest.Ask(a))
	if err != nil {
		return manifest.Plan{}, err
	}
	return manifest.Diff(a, inv, o)
}

// send stages the files of a plan.
func send(h *Host, p manifest.Plan, contents map[manifest.Digest]string) error {
	for _, f := range p.Files {
		if err := sendFile(h, f, contents[f.Digest]); err != nil {
			return err
		}
	}
	return nil
}

func sendFile(h *Host, f manifest.BlobPlan, content string) error {
	raw := []byte(content)
	if f.Size <= manifest.SmallFile {
		if len(f.Staged) > 0 {
			return nil
		}
		body := raw
		if len(body) == 0 {
			body = []byte{0}
		}
		return h.PutPack([]manifest.Part{{Digest: f.Digest, Size: f.Size}}, rawChunk(0, body))
	}
	for i := range manifest.Chunks(f.Size) {
		if slices.Contains(f.Staged, i) {
			continue
		}
		from := int64(i) * manifest.ChunkSize
		if err := h.PutFile(f.Digest, rawChunk(i, raw[from:from+manifest.ChunkLen(f.Size, i)])); err != nil {
			return err
		}
	}
	return nil
}

func rawChunk(index int, body []byte) Chunk {
	return Chunk{Index: index, Codec: CodecRaw, Raw: int64(len(body)), Sum: xxhash.Sum64(body), Body: body}
}

func contentsOf(trees ...tree) map[manifest.Digest]string {
	all := map[manifest.Digest]string{}
	for _, tr := range trees {
		for p, c := range tr {
			if !strings.HasSuffix(p, "/") {
				all[descriptorOf(c).Digest] = c
			}
		}
	}
	return all
}

// push places one tree, like a run of clara-push model.
func (p *placer) push(name string, tr tree, o manifest.Options) (manifest.Plan, manifest.Receipt, error) {
	h := p.open()
	defer h.Close()
	contents := contentsOf(tr)
	pl, err := plan(h, o, contents, tr.model(name))
	if err != nil || pl.Nothing() {
		return pl, manifest.Receipt{}, err
	}
	r, err := carryOut(h, pl, contents)
	return pl, r, err
}

// carryOut sends and applies under the lock, as an agent does.
func carryOut(h *Host, pl manifest.Plan, contents map[manifest.Digest]string) (manifest.Receipt, error) {
	lock, err := h.Lock(context.Background(), Owner{From: "test"}, time.Minute, nil)
	if err != nil {
		return manifest.Receipt{}, err
	}
	defer lock.Release()
	if err := lock.Stale(); err != nil {
		return manifest.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sent := make(chan error, 1)
	go func() {
		err := send(h, pl, contents)
		if err != nil {
			cancel()
		}
		sent <- err
	}()
	r, err := h.Apply(ctx, pl, nil, func() {}, nil)
	if e := <-sent; e != nil {
		return r, e
	}
	return r, err
}

// pushed is push that must work, and checks that the live tree is tr.
func (p *placer) pushed(name string, tr tree, o manifest.Options) (manifest.Plan, manifest.Receipt) {
	p.t.Helper()
	pl, r, err := p.push(name, tr, o)
	if err != nil {
		p.t.Fatalf("push: %v", err)
	}
	for _, w := range r.Warnings {
		p.t.Errorf("warning: %s", w)
	}
	p.clean()
	return pl, r
}

// holds checks the live tree.
func (p *placer) holds(name string, want tree) {
	p.t.Helper()
	if got := readTree(p.t, p.at(name)); !maps.Equal(got, want) {
		p.t.Fatalf("the live tree is\n%v\nwant\n%v", short(got), short(want))
	}
}

func short(tr tree) tree {
	out := tree{}
	for p, c := range tr {
		out[p] = c[:min(len(c), 20)]
	}
	return out
}

// clean checks that nothing is left of a push but what is kept.
func (p *placer) clean() {
	p.t.Helper()
	for _, d := range []string{"files", "trees", "journal"} {
		if left, err := os.ReadDir(p.own(d)); err != nil || len(left) > 0 {
			p.t.Errorf("%s holds %v, %v", d, left, err)
		}
	}
}

func (p *placer) rollback(name string) (manifest.Receipt, error) {
	h := p.open()
	defer h.Close()
	lock, err := h.Lock(context.Background(), Owner{From: "test"}, time.Minute, nil)
	if err != nil {
		return manifest.Receipt{}, err
	}
	defer lock.Release()
	return h.Rollback(context.Background(), manifest.Selection{Models: []string{name}}, Owner{From: "test"}, nil)
}

// packs lists what small files lie in.
func (p *placer) packs() []string {
	p.t.Helper()
	found, err := filepath.Glob(p.own("files", "*"+packSuffix))
	if err != nil || len(found) == 0 {
		p.t.Fatalf("no packs: %v", err)
	}
	return found
}

// newestOf is the newest time of a live model.
func (p *placer) newestOf(name string) time.Time {
	p.t.Helper()
	n, err := newest(p.at(name))
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// kept counts the former states of a model.
func (p *placer) kept(name string) int {
	all, _ := os.ReadDir(p.own("old", name))
	return len(all)
}

// bothWays runs a test with exchanging and without.
func bothWays(t *testing.T, test func(t *testing.T, exchange bool)) {
	t.Run("exchange", func(t *testing.T) {
		if !canExchange(t.TempDir()) {
			t.Skip("the file system of the temporary folder cannot exchange entries")
		}
		test(t, true)
	})
	t.Run("renames", func(t *testing.T) {
		t.Setenv(noExchange, "1")
		test(t, false)
	})
}
