package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// lastWords is how long an engine that stopped reading has to say why.
const lastWords = 15 * time.Second

// piece is how many bytes are gathered for one write at most: what frames a chunk of the request goes with its bytes.
const piece = 256 << 10

// Load sends the archive that write writes, which carries no names, and returns the ID of the image that was loaded; it is
// empty when the engine did not tell it. No platform is asked for: an engine that is asked for one tells less about what it
// lacks. What write is given goes straight to the engine, so it should come in large pieces; its context ends when nobody
// reads any more.
//
// Nothing of what an engine prints proves that the image is whole: look at it before a name is moved. Failures:
// KindStale when the engine lacks a layer that the archive left out (Absent
// names it by the digest in its path in the archive, when the engine said which), KindIntegrity for a layer
// that has not the diffID of the configuration, KindSpace, KindEngine for every other complaint and for an answer that
// names no image. An error of write aborts the request, so that the engine loads nothing, and is returned as it is.
func (e *Engine) Load(ctx context.Context, write func(context.Context, io.Writer) error) (string, error) {
	writing, cancel := context.WithCancel(ctx)
	defer cancel()
	src := &source{ctx: writing, end: cancel, write: write}
	conn, err := e.dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	req, err := http.NewRequest(http.MethodPost, e.loadURL(), src)
	if err != nil {
		return "", manifest.Fail(manifest.KindInternal, "load", "%w", err)
	}
	req.ContentLength = -1 // not known: sent in chunks
	req.Header.Set("Content-Type", "application/x-tar")
	id, err := exchange(conn, req, src)
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, errBroken):
		return "", manifest.Fail(manifest.KindEngine, "load", "the engine broke off: %w", err).Advise("see the engine's log, then push again")
	}
	return id, err
}

// exchange sends req and listens at the same time: an engine that gives up early says why before it has read everything.
func exchange(conn net.Conn, req *http.Request, src *source) (string, error) {
	type answer struct {
		id  string
		err error
	}
	answered, wrote := make(chan answer, 1), make(chan error, 1)
	go func() {
		id, err := listen(conn, req)
		answered <- answer{id, err}
	}()
	go func() {
		w := bufio.NewWriterSize(conn, piece)
		wrote <- errors.Join(req.Write(w), w.Flush())
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			conn.Close()
			src.end()
		}
		<-wrote //nolint:errcheck // the answer counts, and src tells why the writing ended
		if a.err == nil && src.err != nil {
			return "", src.err
		}
		return a.id, a.err
	case err := <-wrote:
		if src.err != nil {
			conn.Close() // before the last chunk: the engine sees a broken request
			<-answered
			return "", src.err
		}
		if err != nil {
			conn.SetReadDeadline(time.Now().Add(lastWords))
		}
		a := <-answered
		if errors.Is(a.err, errBroken) {
			a.err = errors.Join(a.err, err)
		}
		return a.id, a.err
	}
}

// errBroken marks an answer that could not be read to its end.
var errBroken = errors.New("no whole answer")

// listen reads the answer. It does not close the answer's body: that would read it to its end, and the connection is not
// used again.
func listen(conn net.Conn, req *http.Request) (string, error) {
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errBroken, err)
	}
	return scan(resp.StatusCode, resp.Body)
}

func (e *Engine) loadURL() string {
	return "http://docker" + e.base + "/v" + e.about.API + "/images/load?quiet=1"
}

// source is the body of the request. It remembers how its writing ended: an error of ours must not be taken for one of the
// engine.
type source struct {
	ctx   context.Context // of the writing
	end   context.CancelFunc
	write func(context.Context, io.Writer) error
	err   error // of write, unless the engine's end of the line was why
}

// WriteTo is what net/http calls to send the body.
func (s *source) WriteTo(w io.Writer) (int64, error) {
	l := &line{w: w}
	err := s.write(s.ctx, l)
	if err != nil && l.err == nil {
		s.err = err
	}
	return l.n, err
}

// Read makes source a body. There is nothing to read.
func (s *source) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// line is the way to the engine. It remembers how that ended.
type line struct {
	w   io.Writer
	n   int64
	err error
}

func (l *line) Write(p []byte) (int, error) {
	n, err := l.w.Write(p)
	l.n += int64(n)
	if err != nil {
		l.err = err
	}
	return n, err
}
