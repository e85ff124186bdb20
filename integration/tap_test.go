//go:build linux

package integration

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
)

// A tap is a second socket of a real engine. It notes every request, and can do something before or instead of the
// engine's answer.
type tap struct {
	Socket string
	engine http.Handler // what lies behind it

	mu       sync.Mutex
	requests []string                                          // "GET /images/json"
	before   func(w http.ResponseWriter, r *http.Request) bool // reports whether it has answered
}

// newTap opens a tap on an engine; it closes with the test.
func newTap(t testing.TB, e *lab.Engine, before func(http.ResponseWriter, *http.Request) bool) *tap {
	t.Helper()
	dir := t.TempDir()
	p := &tap{Socket: filepath.Join(dir, "tap.sock"), before: before}
	ln, err := net.Listen("unix", p.Socket)
	if err != nil {
		t.Fatal(err)
	}
	p.engine = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "engine" },
		Transport: &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", e.Socket)
		}},
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.note(r)
		if p.before != nil && p.before(w, r) {
			return
		}
		p.engine.ServeHTTP(w, r)
	})}
	go func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("tap: %v", err)
		}
	}()
	t.Cleanup(func() { srv.Close() })
	return p
}

// Host is the socket as DOCKER_HOST wants it.
func (p *tap) Host() string { return "unix://" + p.Socket }

func (p *tap) note(r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, r.Method+" "+r.URL.Path)
}

// count returns how many requests there were whose method and path contain all the words.
func (p *tap) count(words ...string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.requests {
		has := true
		for _, w := range words {
			has = has && strings.Contains(r, w)
		}
		if has {
			n++
		}
	}
	return n
}

// saves counts the requests that save images.
func (p *tap) saves() int { return p.count("GET ", "/get") }

func isLoad(r *http.Request) bool {
	return r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/images/load")
}
