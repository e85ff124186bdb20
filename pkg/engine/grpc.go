package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// maxMessage caps one gRPC message, in bytes; it is containerd's own limit.
const maxMessage = 16 << 20

// Status codes of gRPC that mean something here.
const (
	grpcNotFound      = 5
	grpcUnimplemented = 12
)

// rpcError is a gRPC status other than OK.
type rpcError struct {
	code int
	said string
}

func (e *rpcError) Error() string { return fmt.Sprintf("grpc status %d: %s", e.code, e.said) }

// rpc calls methods of a gRPC service with one request and a stream of responses.
type rpc struct {
	http    *http.Client
	service string
}

// newRPC speaks HTTP/2 without TLS over the connections that dial opens.
func newRPC(service string, dial func(context.Context) (net.Conn, error)) *rpc {
	t := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		Protocols:          new(http.Protocols),
		DisableCompression: true,
		MaxIdleConns:       1,
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	return &rpc{http: &http.Client{Transport: t}, service: service}
}

func (r *rpc) close() { r.http.CloseIdleConnections() }

// call sends one message and returns the stream of responses; the caller closes it.
func (r *rpc) call(ctx context.Context, method string, msg []byte) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg)))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://docker/"+r.service+"/"+method, bytes.NewReader(append(frame, msg...)))
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := r.http.Do(req)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &stream{resp: resp, body: bufio.NewReader(resp.Body), cancel: cancel}
	if resp.StatusCode != http.StatusOK {
		s.Close()
		return nil, &rpcError{code: grpcUnimplemented, said: "HTTP " + resp.Status}
	}
	if resp.Header.Get("Grpc-Status") != "" { // nothing but trailers
		defer s.Close()
		return nil, statusOf(resp.Header)
	}
	return s, nil
}

// stream is the messages of one response.
type stream struct {
	resp   *http.Response
	body   *bufio.Reader
	cancel context.CancelFunc
	buf    []byte
}

// next returns the next message, which stays valid until the call after; io.EOF after the last of a call that succeeded.
func (s *stream) next() ([]byte, error) {
	var head [5]byte
	switch _, err := io.ReadFull(s.body, head[:]); {
	case err == io.EOF:
		return nil, statusOf(s.resp.Trailer)
	case err != nil:
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != 0 || size > maxMessage {
		return nil, fmt.Errorf("%w: flags %d, %d bytes", errWire, head[0], size)
	}
	if cap(s.buf) < int(size) {
		s.buf = make([]byte, size)
	}
	s.buf = s.buf[:size]
	_, err := io.ReadFull(s.body, s.buf)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return s.buf, err
}

// Close ends the call, finished or not.
func (s *stream) Close() error {
	s.cancel()
	return s.resp.Body.Close()
}

// statusOf reads how a call ended; io.EOF stands for success.
func statusOf(h http.Header) error {
	code, err := strconv.Atoi(h.Get("Grpc-Status"))
	if err != nil {
		return errors.New("the answer ended without a status")
	}
	if code == 0 {
		return io.EOF
	}
	said, err := url.PathUnescape(h.Get("Grpc-Message"))
	if err != nil {
		said = h.Get("Grpc-Message")
	}
	return &rpcError{code: code, said: manifest.Plain(said)}
}

// upgrade turns a fresh connection into one that speaks HTTP/2, by Docker's endpoint for that.
func upgrade(ctx context.Context, conn net.Conn, path string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	req, err := http.NewRequest(http.MethodPost, "http://docker"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "h2c")
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("upgrade to HTTP/2: %s", resp.Status)
	}
	return &upgraded{Conn: conn, r: r}, nil
}

// upgraded is a connection of which a reader may have taken some bytes already.
type upgraded struct {
	net.Conn
	r *bufio.Reader
}

func (u *upgraded) Read(p []byte) (int, error) { return u.r.Read(p) }
