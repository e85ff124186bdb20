// Package wire is the language that a client and a host agent speak over one byte stream: frames of a JSON header and an
// optional binary body. It knows no SSH and does nothing with what it carries. Read Message first; ARCHITECTURE.md tells
// which message answers which.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Protocol is the version of this language. A client and an agent of different versions do not talk.
const Protocol = 2

// Caps on what one frame may hold, in bytes. A header carries at most an inventory, a body at most one chunk and what an
// encoder adds to it.
const (
	MaxHeader = 16 << 20
	MaxBody   = int(manifest.ChunkSize) + 64<<10
)

// A Writer sends messages, whole ones, from any number of goroutines.
type Writer struct {
	mu sync.Mutex
	w  io.Writer
}

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Send writes m and its body. It returns how many bytes that were.
func (w *Writer) Send(m Message, body []byte) (int, error) {
	head, err := json.Marshal(m)
	if err != nil {
		return 0, fmt.Errorf("encode %s: %w", m.Type, err)
	}
	if len(head) > MaxHeader || len(body) > MaxBody {
		return 0, fmt.Errorf("%s is too large to send: header %d bytes, body %d bytes", m.Type, len(head), len(body))
	}
	frame := make([]byte, 8, 8+len(head))
	binary.BigEndian.PutUint32(frame, uint32(len(head)))
	binary.BigEndian.PutUint32(frame[4:], uint32(len(body)))
	frame = append(frame, head...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.w.Write(frame); err != nil {
		return 0, err
	}
	if len(body) > 0 {
		if _, err := w.w.Write(body); err != nil {
			return 0, err
		}
	}
	return len(frame) + len(body), nil
}

// Read reads one message; its body lands in buf when that is large enough. It reads not one byte past the frame. At the
// clean end of the stream it returns io.EOF, in the middle of a frame io.ErrUnexpectedEOF.
func Read(r io.Reader, buf []byte) (Message, []byte, error) {
	var sizes [8]byte
	if _, err := io.ReadFull(r, sizes[:]); err != nil {
		return Message{}, nil, err
	}
	head, body := binary.BigEndian.Uint32(sizes[:4]), binary.BigEndian.Uint32(sizes[4:])
	if head > MaxHeader || int64(body) > int64(MaxBody) {
		return Message{}, nil, fmt.Errorf("malformed frame: header %d bytes, body %d bytes", head, body)
	}
	raw := make([]byte, head)
	if err := readFull(r, raw); err != nil {
		return Message{}, nil, err
	}
	var m Message
	if err := json.Unmarshal(raw, &m); err != nil {
		return Message{}, nil, fmt.Errorf("malformed frame header: %w", err)
	}
	if int(body) > cap(buf) {
		buf = make([]byte, body)
	}
	buf = buf[:body]
	return m, buf, readFull(r, buf)
}

// readFull is io.ReadFull for the middle of a frame, where any end is unexpected.
func readFull(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if err == io.EOF && len(p) > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}
