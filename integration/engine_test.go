//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/loader"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// guardSocket puts a socket in front of the engine's that turns away connections whose first line starts with one of
// refused, as a proxy in front of an engine may. It returns its address.
func guardSocket(t *testing.T, e *lab.Engine, refused ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guard.sock")
	l, err := net.Listen("unix", path)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go guard(c, e.Socket, refused)
		}
	}()
	return "unix://" + path
}

func guard(c net.Conn, socket string, refused []string) {
	defer c.Close()
	r := bufio.NewReader(c)
	first, err := r.Peek(10)
	if err != nil {
		return
	}
	for _, prefix := range refused {
		if strings.HasPrefix(string(first), prefix) {
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return
		}
	}
	up, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		io.Copy(up, r)
		up.(*net.UnixConn).CloseWrite()
	}()
	io.Copy(c, up)
}

// TestContentStore reads blobs of a real store, by Docker's upgrade and over the bare socket.
func TestContentStore(t *testing.T) {
	l := onContainerd(t)
	img := makeImage(t, "content:1", "", true, l.tarOf(t, 20<<20))
	l.push(t, manifest.Options{}, img)
	layer := img.Layers[0].Descriptor
	raw := img.blobs[layer.Digest]
	for name, host := range map[string]string{
		"upgrade": guardSocket(t, l.engine, "PRI "),
		"direct":  guardSocket(t, l.engine, "POST /grpc"),
	} {
		t.Run(name, func(t *testing.T) {
			e, err := engine.Find(t.Context(), host)
			must(t, err)
			defer e.Close()
			c := e.Content()
			if c == nil || !e.Describe().Content {
				t.Fatal("no content store")
			}
			blobs, err := c.List(t.Context())
			must(t, err)
			found := false
			for _, b := range blobs {
				found = found || b.Digest == layer.Digest && b.Size == layer.Size
			}
			if !found {
				t.Errorf("%s is not listed among %v", layer.Digest, blobs)
			}
			for _, offset := range []int64{0, 1, 5 << 20, layer.Size - 1, layer.Size} {
				r, err := c.Open(t.Context(), layer, offset)
				must(t, err)
				got, err := io.ReadAll(r)
				r.Close()
				if err != nil || !bytes.Equal(got, raw[offset:]) {
					t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
				}
			}
			r, err := c.Open(t.Context(), layer, 0)
			must(t, err)
			_, err = io.CopyN(io.Discard, r, 100)
			must(t, err)
			must(t, r.Close()) // given up early

			if got, err := c.ReadAll(t.Context(), img.Config, 1<<20); err != nil || !bytes.Equal(got, img.blobs[img.Config.Digest]) {
				t.Errorf("config: %d bytes, %v", len(got), err)
			}
			if _, err := c.ReadAll(t.Context(), layer, 1<<20); manifest.KindOf(err) != manifest.KindMalformed {
				t.Errorf("too large: %v", err)
			}
			wrong := manifest.Descriptor{Digest: layer.Digest, Size: layer.Size + 1}
			if r, err := c.Open(t.Context(), wrong, 0); err == nil {
				if _, err = io.Copy(io.Discard, r); err != io.ErrUnexpectedEOF {
					t.Errorf("shorter than it should be: %v", err)
				}
				r.Close()
			}
			absent := manifest.Descriptor{Digest: digest.FromString("absent"), Size: 5}
			if _, err := c.Open(t.Context(), absent, 0); manifest.KindOf(err) != manifest.KindNotFound {
				t.Errorf("absent: %v", err)
			}
		})
	}
}

// TestContentStoreBlocked pushes to an engine with the containerd store behind a proxy that lets no gRPC through.
func TestContentStoreBlocked(t *testing.T) {
	l := onContainerd(t)
	base := l.tarOf(t, 1000)
	first := makeImage(t, "app:1", "gzip", true, base)
	l.push(t, manifest.Options{}, first)
	host, err := loader.Open(t.Context(), loader.Options{EngineHost: guardSocket(t, l.engine, "PRI ", "POST /grpc"), StateDir: t.TempDir()})
	must(t, err)
	defer host.Close()
	if host.Engine().Content {
		t.Fatal("the content store can be read")
	}
	blocked := *l
	blocked.host = host
	second := makeImage(t, "app:1", "gzip", true, base, l.tarOf(t, 1000))
	p, r := blocked.push(t, manifest.Options{Keep: 1}, second)
	if p.Images[0].Layers[0].Present {
		t.Error("a layer passes for present that nobody could see")
	}
	l.bears(t, r.Images[0].Keeper, first)
	third := makeImage(t, "app:1", "gzip", true, l.tarOf(t, 1000), l.tarOf(t, 10))
	p = blocked.plan(t, manifest.Options{}, third)
	p.Images[0].Layers[0].Present = true
	blocked.fails(t, manifest.KindStale, p, newHandFeed(p, third))
	blocked.push(t, manifest.Options{}, third)
	snapshot := makeImage(t, "app:1", "zstd", true, base) // the store has its layer, but not this blob of it
	p = blocked.plan(t, manifest.Options{}, snapshot)
	p.Images[0].Layers[0].Present = true
	blocked.fails(t, manifest.KindStale, p, newHandFeed(p, snapshot))
	l.bears(t, "app:1", third)
}

// TestEngineTells compares what is told of an image with what it is, on every kind of engine.
func TestEngineTells(t *testing.T) {
	eachEngine(t, func(t *testing.T, l *landing) {
		img := makeImage(t, "tells:1", "", true, l.tarOf(t, 5000), l.tarOf(t, 300))
		l.push(t, manifest.Options{}, img)
		ctx := t.Context()
		sizes, err := l.api.History(ctx, "tells:1")
		if err != nil || len(sizes) != 2 || sizes[0] < sizes[1] {
			t.Errorf("history %v, %v", sizes, err)
		}
		if _, err := l.api.Image(ctx, "nobody:1", manifest.Platform{}); manifest.KindOf(err) != manifest.KindNotFound {
			t.Errorf("no such image: %v", err)
		}
		if _, err := l.api.Save(ctx, "nobody:1"); err == nil && l.store != manifest.StorePodman {
			t.Error("an image that is not there was saved")
		}
		r, err := l.api.Save(ctx, "tells:1")
		must(t, err)
		defer r.Close()
		if n, err := io.Copy(io.Discard, r); err != nil || n < 5300 {
			t.Errorf("saved %d bytes, %v", n, err)
		}
		id, err := l.api.ID(ctx, "tells:1")
		must(t, err)
		must(t, l.api.Tag(ctx, id, "other/name:2"))
		refs, err := l.api.Refs(ctx)
		must(t, err)
		if refs["tells:1"] != id || refs["other/name:2"] != id {
			t.Errorf("refs %v, want %s", refs, id)
		}
		must(t, l.api.Untag(ctx, "tells:1"))
		if now, err := l.api.ID(ctx, "tells:1"); now != "" || err != nil {
			t.Errorf("still there: %s, %v", now, err)
		}
		must(t, l.api.Remove(ctx, id))
	})
}
