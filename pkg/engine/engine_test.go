package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// The engine in these tests is made up: it does what a real one cannot be made to do on demand. How real ones behave is
// tested in the folder integration.

// startEngine serves what Find asks for, and load, on a socket.
func startEngine(t *testing.T, load http.HandlerFunc) string {
	t.Helper()
	return startEngineIn(t, t.TempDir(), load)
}

func startEngineIn(t *testing.T, dir string, load http.HandlerFunc) string {
	t.Helper()
	path := filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: engineHandler(load)}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return "unix://" + path
}

func engineHandler(load http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern, body string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Api-Version", "1.41")
			io.WriteString(w, body)
		})
	}
	answer("/_ping", "OK")
	answer("/v1.41/version", `{"Version":"20.10.99","ApiVersion":"1.41","Os":"linux","Arch":"amd64"}`)
	answer("/v1.41/info", `{"Driver":"overlay2","DockerRootDir":"/var/lib/docker","Architecture":"x86_64"}`)
	if load != nil {
		mux.HandleFunc("POST /v1.41/images/load", load)
	}
	return mux
}

func find(t *testing.T, host string) *Engine {
	t.Helper()
	e, err := Find(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// endless is an archive that never ends.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	e.n += len(p)
	return len(p), nil
}

// reading makes an archive of what r reads.
func reading(r io.Reader) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	}
}

func TestLoadEngineGivesUpEarly(t *testing.T) {
	const said = `{"errorDetail":{"message":"archive/tar: invalid tar header"}}`
	for name, load := range map[string]http.HandlerFunc{
		"handler returns": func(w http.ResponseWriter, r *http.Request) {
			io.CopyN(io.Discard, r.Body, 1<<20)
			io.WriteString(w, said)
		},
		"connection is cut after the answer": func(w http.ResponseWriter, r *http.Request) {
			io.CopyN(io.Discard, r.Body, 1<<20)
			c, _, _ := w.(http.Hijacker).Hijack()
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(said), said)
			c.Close()
		},
		"reads on": func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).EnableFullDuplex()
			io.WriteString(w, said)
			w.(http.Flusher).Flush()
			io.Copy(io.Discard, r.Body)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := find(t, startEngine(t, load))
			_, err := e.Load(t.Context(), reading(&endless{}))
			if manifest.KindOf(err) != manifest.KindEngine || !strings.Contains(fmt.Sprint(err), "invalid tar header") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLoadEngineDies(t *testing.T) {
	e := find(t, startEngine(t, func(w http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 1<<20)
		c, _, _ := w.(http.Hijacker).Hijack()
		c.Close()
	}))
	_, err := e.Load(t.Context(), reading(&endless{}))
	if manifest.KindOf(err) != manifest.KindEngine || !strings.Contains(fmt.Sprint(err), "broke off") {
		t.Errorf("got %v", err)
	}
}

// TestLoadReaderFails sees that the engine does not take an archive that broke off for a whole one.
func TestLoadReaderFails(t *testing.T) {
	saw := make(chan error, 1)
	e := find(t, startEngine(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		saw <- err
		io.WriteString(w, `{"stream":"Loaded image ID: sha256:`+hexA+`"}`)
	}))
	lost := errors.New("the line broke")
	_, err := e.Load(t.Context(), reading(io.MultiReader(strings.NewReader("some bytes"), failing{lost})))
	if err != lost {
		t.Errorf("got %v", err)
	}
	if err := <-saw; err == nil {
		t.Error("the engine saw a whole request")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestLoadCancelled(t *testing.T) {
	e := find(t, startEngine(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"status":"working"}`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	waits := func(ctx context.Context, _ io.Writer) error {
		<-ctx.Done()
		return ctx.Err()
	}
	if _, err := e.Load(ctx, waits); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLoadStreams(t *testing.T) {
	const size = 64 << 20
	e := find(t, startEngine(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if n != size || err != nil || r.Header.Get("Content-Type") != "application/x-tar" {
			fmt.Fprintf(w, `{"error":"%d bytes, %v"}`, n, err)
			return
		}
		io.WriteString(w, `{"stream":"Loaded image ID: sha256:`+hexA+`\n"}`)
	}))
	id, err := e.Load(t.Context(), reading(bufio.NewReader(io.LimitReader(&endless{}, size))))
	if err != nil || id != "sha256:"+hexA {
		t.Errorf("got %s, %v", id, err)
	}
}
