package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
)

// proxy stands before a registry and breaks what a test asks it to break.
type proxy struct {
	*httptest.Server
	registry http.Handler
	meddle   atomic.Pointer[http.HandlerFunc] // for GET of blobs

	mu     sync.Mutex
	ranges []string
}

func newProxy(t *testing.T) *proxy {
	p := &proxy{registry: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := p.meddle.Load(); f != nil && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			p.mu.Lock()
			p.ranges = append(p.ranges, r.Header.Get("Range"))
			p.mu.Unlock()
			(*f)(w, r)
			return
		}
		p.registry.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) name(rest string) string { return p.Listener.Addr().String() + "/" + rest }

// push stores blobs and, under a name, a manifest.
func (p *proxy) push(t *testing.T, repo, tag string, blobs archive, root manifest.Descriptor) {
	t.Helper()
	send := func(method, path, contentType string, body []byte) {
		r := httptest.NewRequest(method, path, bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		p.registry.ServeHTTP(w, r)
		if w.Code >= 300 {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
	for _, b := range blobs {
		d := "sha256:" + strings.TrimPrefix(b.name, "blobs/sha256/")
		send("POST", "/v2/"+repo+"/blobs/uploads/?digest="+d, "application/octet-stream", b.data)
		if doc, err := manifest.ParseDocument(b.data, ""); err == nil {
			send("PUT", "/v2/"+repo+"/manifests/"+d, doc.MediaType, b.data)
			if d == string(root.Digest) {
				send("PUT", "/v2/"+repo+"/manifests/"+tag, doc.MediaType, b.data)
			}
		}
	}
}

func TestRegistry(t *testing.T) {
	noEngine(t)
	amd, arm := makeImage(t, 50, 2, "amd64", gzipped), makeImage(t, 51, 2, "arm64", gzipped)
	blobs, a := amd.blobs()
	more, b := arm.blobs()
	p := newProxy(t)
	p.push(t, "team/app", "one", blobs, a)
	all, index := indexOf(append(blobs, more...), a, b)
	p.push(t, "team/app", "both", all, index)
	for name, c := range map[string]struct {
		ref  string
		ref2 string // on the host
		left int
	}{
		"by tag":            {p.name("team/app:one"), p.name("team/app:one"), 0},
		"forced":            {"registry://" + p.name("team/app:one"), p.name("team/app:one"), 0},
		"index":             {p.name("team/app:both"), p.name("team/app:both"), 1},
		"by digest and tag": {p.name("team/app:one@" + string(a.Digest)), p.name("team/app:one"), 0},
		"by digest":         {p.name("team/app@" + string(a.Digest)), "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{}
			if c.ref2 == "" {
				o.As, c.ref2 = "app:9", "app:9"
			}
			s, img, err := one(t, o, c.ref)
			if err != nil {
				t.Fatal(err)
			}
			if img.Ref != c.ref2 || img.Manifest.Digest != a.Digest || len(img.LeftBehind) != c.left || !strings.HasPrefix(img.Origin, "registry 127.0.0.1") {
				t.Errorf("%+v", img)
			}
			readsAs(t, s, img.Manifest, encode(amd.manifestOf()))
			readsAs(t, s, img.Config, amd.config)
			for n, l := range img.Layers {
				readsAs(t, s, l.Descriptor, amd.layers[n])
			}
		})
	}
}

// A download that breaks off, stands still or cannot begin in the middle arrives all the same.
func TestFlakyRegistry(t *testing.T) {
	noEngine(t)
	m := makeImage(t, 52, 1, "amd64", unchanged)
	m.plain[0] = bytes.Repeat([]byte("a layer of some length "), 50000)
	m.layers[0] = m.plain[0]
	m.config = m.makeConfig()
	blobs, d := m.blobs()
	p := newProxy(t)
	p.push(t, "app", "1", blobs, d)
	layer := m.layers[0]
	serve := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(layer))
	}
	var calls atomic.Int32
	cut := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			serve(&limited{ResponseWriter: w, left: n}, r)
			panic(http.ErrAbortHandler)
		}
	}
	wait := make(chan struct{})
	t.Cleanup(func() { close(wait) })
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		offset  int64
		kind    manifest.Kind
		says    string
	}{
		"cut again and again": {cut(300_000), 0, "", ""},
		"cut, from within":    {cut(300_000), 77_777, "", ""},
		"cut without a byte":  {cut(0), 0, manifest.KindConnect, "broke off at 0"},
		"no ranges, cut once": {func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			once(&calls, cut(500_000), serve)(w, r)
		}, 0, "", ""},
		"no ranges, from within": {func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); serve(w, r) }, 77_777, "", ""},
		"stands still once":      {once(&calls, stall(serve, wait, 100_000), serve), 0, "", ""},
		"busy once":              {once(&calls, status(http.StatusServiceUnavailable), serve), 0, "", ""},
		"gone":                   {status(http.StatusNotFound), 0, manifest.KindNotFound, "does not have it"},
		"refused":                {status(http.StatusForbidden), 0, manifest.KindPermission, "refuses access"},
		"another length": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(layer)-1))
			w.Write(layer[1:])
		}, 0, manifest.KindIntegrity, "bytes of"},
		"another range": {func(w http.ResponseWriter, r *http.Request) { r.Header.Set("Range", "bytes=5-"); serve(w, r) }, 77_777, manifest.KindMalformed, "instead of"},
		"other bytes":   {func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, len(layer))) }, 0, manifest.KindIntegrity, "another digest"},
		"redirect to plain elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/blob", http.StatusFound)
		}, 0, manifest.KindConnect, "plain HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			p.meddle.Store(nil)
			o, err := openRegistry(t.Context(), p.name("app:1"))
			if err != nil {
				t.Fatal(err)
			}
			defer o.close()
			o.idle = 200 * time.Millisecond
			o.pause = time.Millisecond
			calls.Store(0)
			p.meddle.Store(&c.handler)
			var got []byte
			r, err := o.open(t.Context(), describe("", layer), c.offset)
			if err == nil {
				got, err = io.ReadAll(r)
				r.Close()
			}
			if manifest.KindOf(err) != c.kind || (err != nil && !strings.Contains(err.Error(), c.says)) {
				t.Fatalf("%s: %v; want %s, with %q", manifest.KindOf(err), err, c.kind, c.says)
			}
			if err == nil && !bytes.Equal(got, layer[c.offset:]) {
				t.Errorf("%d bytes, not the blob's", len(got))
			}
		})
	}
}

func once(calls *atomic.Int32, first, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			first(w, r)
			return
		}
		then(w, r)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// stall sends some bytes and then nothing more, without an end.
func stall(serve http.HandlerFunc, wait <-chan struct{}, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		serve(&limited{ResponseWriter: w, left: n}, r)
		w.(http.Flusher).Flush()
		select {
		case <-wait:
		case <-r.Context().Done():
		}
	}
}

// limited lets only so many bytes through.
type limited struct {
	http.ResponseWriter
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		n, _ := l.ResponseWriter.Write(p[:l.left])
		l.left = 0
		return n, errors.New("cut")
	}
	l.left -= len(p)
	return l.ResponseWriter.Write(p)
}

// A cancelled read ends at once, even while the registry is silent.
func TestCancelledDownload(t *testing.T) {
	noEngine(t)
	m := makeImage(t, 53, 1, "amd64", unchanged)
	blobs, d := m.blobs()
	p := newProxy(t)
	p.push(t, "app", "1", blobs, d)
	o, err := openRegistry(t.Context(), p.name("app:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	wait := make(chan struct{})
	defer close(wait)
	h := stall(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.layers[0]))
	}, wait, 100)
	p.meddle.Store(&h)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := o.open(ctx, describe("", m.layers[0]), 0)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	_, err = io.ReadAll(r)
	if manifest.KindOf(err) != manifest.KindInterrupted || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestRegistryRefusals(t *testing.T) {
	noEngine(t)
	m := makeImage(t, 54, 1, "amd64", gzipped)
	raw := encode(m.manifestOf())
	answer := func(code int, contentType string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/" {
				return
			}
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(code)
			w.Write(body)
		}
	}
	signIn := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		suffix  string
		kind    manifest.Kind
		hint    string
	}{
		"not there":      {answer(404, "application/json", []byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"gone\u001b[2J"}]}`)), ":1", manifest.KindNotFound, ""},
		"must sign in":   {signIn, ":1", manifest.KindPermission, "docker login 127.0.0.1"},
		"out of order":   {answer(500, "text/plain", nil), ":1", manifest.KindConnect, ""},
		"no JSON":        {answer(200, ocispecManifest, []byte("no")), ":1", manifest.KindMalformed, ""},
		"huge":           {answer(200, ocispecManifest, make([]byte, manifest.MaxDocument+1)), ":1", manifest.KindMalformed, ""},
		"another digest": {answer(200, ocispecManifest, raw), "@" + string(digest.FromString("x")), manifest.KindIntegrity, ""},
		"type is a lie":  {answer(200, "application/vnd.oci.image.index.v1+json", raw), ":1", manifest.KindMalformed, ""},
		"config not there": {func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/") {
				answer(404, "text/plain", nil)(w, r)
				return
			}
			answer(200, ocispecManifest, raw)(w, r)
		}, ":1", manifest.KindNotFound, ""},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(c.handler)
			defer srv.Close()
			_, _, err := one(t, Options{As: "x:1"}, "registry://"+srv.Listener.Addr().String()+"/app"+c.suffix)
			var f *manifest.Failure
			if !errors.As(err, &f) || f.Kind != c.kind || !strings.HasPrefix(f.Hint, c.hint) || strings.ContainsRune(f.Error(), 0x1b) {
				t.Errorf("%s: %v; want %s, hint %q", manifest.KindOf(err), err, c.kind, c.hint)
			}
		})
	}
}

const ocispecManifest = "application/vnd.oci.image.manifest.v1+json"

// A name that is found nowhere says where it was looked for, and the kind is that of the place that mattered.
func TestNowhere(t *testing.T) {
	noEngine(t)
	t.Chdir(t.TempDir())
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	deny := manifest.Fail(manifest.KindPermission, "", "denied").Advise("log in")
	none := manifest.Fail(manifest.KindNotFound, "", "none")
	down := manifest.Fail(manifest.KindConnect, "", "down")
	invalid := manifest.Fail(manifest.KindEngine, "", "invalid reference format")
	for name, c := range map[string]struct {
		name             string
		engine, registry error
		kind             manifest.Kind
	}{
		"everywhere asked":                   {"app", none, none, manifest.KindNotFound},
		"Docker Hub refuses what it has not": {"app", none, deny, manifest.KindNotFound},
		"no network, a bare name":            {"app", none, down, manifest.KindNotFound},
		"no engine, a bare name":             {"app", deny, none, manifest.KindPermission},
		"no engine, a full name":             {"registry.example.com/app", deny, none, manifest.KindNotFound},
		"a full name, refused":               {"registry.example.com/app", none, deny, manifest.KindPermission},
		"no name of an image":                {"App:1", invalid, none, manifest.KindUsage},
		"the host first":                     {"root@gpu01", invalid, none, manifest.KindUsage},
		"a full name, no network":            {"registry.example.com/app", none, down, manifest.KindConnect},
	} {
		err := nowhere(c.name, c.engine, none, c.registry)
		var f *manifest.Failure
		if !errors.As(err, &f) || f.Kind != c.kind || f.Hint == "" {
			t.Errorf("%s: %s, %v", name, manifest.KindOf(err), err)
		}
	}
	for addr, kind := range map[string]manifest.Kind{closed.Addr().String(): manifest.KindConnect} {
		_, err := open(t, Options{}, addr+"/app:1")
		if manifest.KindOf(err) != kind {
			t.Errorf("%s: %v", addr, err)
		}
		for _, place := range []string{"engine", "file", "registry"} {
			if err == nil || !strings.Contains(err.Error(), place) {
				t.Errorf("%v does not say that %s was asked", err, place)
			}
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.8.9.1": true, "[::1]:5000": true,
		"10.0.0.1:5000": false, "registry.local": false, "localhost.example.com": false, "index.docker.io": false,
	} {
		if isLoopback(host) != want {
			t.Errorf("isLoopback(%s) = %v", host, !want)
		}
	}
}
