//go:build linux

package loader

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/klauspost/compress/zstd"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Open reads the blob d, whose size must be known, from its chunks, and waits for those that have not arrived. It keeps
// some chunks in memory. A damaged chunk is removed and reported as KindStale: it must travel again.
func (s *Stage) Open(ctx context.Context, d manifest.Descriptor) (io.ReadCloser, error) {
	dir, err := s.hold(d.Digest, true)
	if err != nil {
		return nil, stageFailure("read stage", err)
	}
	h := &handed{chunks: map[int]Chunk{}}
	s.mu.Lock()
	s.readers[d.Digest] = h
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	r := &stageReader{ctx: ctx, cancel: cancel, ready: make(chan decoded), free: make(chan []byte, 2)}
	r.free <- nil
	r.free <- nil
	go r.fill(ctx, s, dir, d, h)
	return r, nil
}

type decoded struct {
	bytes []byte
	err   error
}

type stageReader struct {
	ctx    context.Context // of the whole reading; it ends with Close
	cancel context.CancelFunc
	ready  chan decoded
	free   chan []byte // buffers that may be filled
	buf    []byte      // the chunk being read, whole
	left   []byte      // what of buf is not read yet
	err    error
}

// fill decodes one chunk after the other, ahead of the reader by as many as there are free buffers.
func (r *stageReader) fill(ctx context.Context, s *Stage, dir string, d manifest.Descriptor, h *handed) {
	defer close(r.ready)
	defer s.forget(d.Digest, h)
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(manifest.ChunkSize)))
	if err != nil {
		r.give(ctx, decoded{err: err})
		return
	}
	defer z.Close()
	var body []byte
	for i := range manifest.Chunks(d.Size) {
		var buf []byte
		select {
		case buf = <-r.free:
		case <-ctx.Done():
			return
		}
		c, err := s.await(ctx, dir, i, body, h)
		body = c.Body
		var raw []byte
		if err == nil {
			raw, err = c.decode(z, buf)
		}
		if err == nil && int64(len(raw)) != manifest.ChunkLen(d.Size, i) {
			err = errors.New("chunk " + strconv.Itoa(i) + " has the wrong size")
		}
		if err == nil && c.Codec == CodecRaw {
			body = buf // the reader gets the body as it is, so its place is taken by the free buffer
		}
		if err != nil {
			err = spoilt(ctx, dir, i, d, err)
		}
		if !r.give(ctx, decoded{raw, err}) || err != nil {
			return
		}
	}
}

// spoilt removes a chunk that cannot be used and says so.
func spoilt(ctx context.Context, dir string, index int, d manifest.Descriptor, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	os.Remove(filepath.Join(dir, strconv.Itoa(index)))
	return manifest.Fail(manifest.KindStale, "read stage", "blob %s: %w", d.Digest, err)
}

func (r *stageReader) give(ctx context.Context, d decoded) bool {
	select {
	case r.ready <- d:
		return true
	case <-ctx.Done():
		return false
	}
}

// await returns chunk number index as soon as it is there. Its body is buf or takes that's place.
func (s *Stage) await(ctx context.Context, dir string, index int, buf []byte, h *handed) (Chunk, error) {
	path := filepath.Join(dir, strconv.Itoa(index))
	for {
		s.mu.Lock()
		arrived := s.arrived
		c, ok := h.take(index, buf)
		s.mu.Unlock()
		if ok {
			return c, nil
		}
		c, err := readChunk(path, index, buf)
		if !errors.Is(err, os.ErrNotExist) {
			return c, err
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return Chunk{}, ctx.Err()
		}
	}
}

// forget ends the handing over to a reader that is done.
func (s *Stage) forget(d manifest.Digest, h *handed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers[d] == h {
		delete(s.readers, d)
	}
}

// Read implements io.Reader.
func (r *stageReader) Read(p []byte) (int, error) {
	if err := r.more(); err != nil {
		return 0, err
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// WriteTo implements io.WriterTo: chunk by chunk, without another copy.
func (r *stageReader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if err := r.more(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		m, err := w.Write(r.left)
		n += int64(m)
		r.left = r.left[m:]
		if err != nil {
			return n, err
		}
	}
}

// more waits until something is left to be read.
func (r *stageReader) more() error {
	for len(r.left) == 0 {
		if r.err != nil {
			return r.err
		}
		if r.buf != nil {
			r.free <- r.buf
			r.buf = nil
		}
		d, more := <-r.ready
		switch {
		case !more && r.ctx.Err() != nil:
			r.err = r.ctx.Err()
		case !more:
			r.err = io.EOF
		case d.err != nil:
			r.err = d.err
		default:
			r.buf, r.left = d.bytes, d.bytes
		}
	}
	return nil
}

// Close stops reading ahead. It may be called twice.
func (r *stageReader) Close() error {
	r.cancel()
	if r.err == nil {
		r.err = os.ErrClosed
	}
	return nil
}
