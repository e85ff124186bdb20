//go:build linux

package loader

// ahead is how many chunks at most wait in memory for a reader.
const ahead = 4

// handed is what a reader of a blob gets straight from those who bring it, because it waits for that or will next: so it need not
// read back, and check again, what was written a moment ago. The stage's lock guards it.
type handed struct {
	next   int // the chunk that is read next
	chunks map[int]Chunk
	spare  [][]byte // buffers of chunks that were read
}

// hand takes c over when the reader will want it soon. It returns a buffer that the caller may use: c's own if c was not
// taken, nil when there is none.
func (h *handed) hand(c Chunk) []byte {
	if h == nil || c.Index < h.next || c.Index >= h.next+ahead {
		return c.Body
	}
	if _, twice := h.chunks[c.Index]; twice {
		return c.Body
	}
	h.chunks[c.Index] = c
	n := len(h.spare)
	if n == 0 {
		return nil
	}
	buf := h.spare[n-1]
	h.spare = h.spare[:n-1]
	return buf
}

// take gives the reader chunk number index if it was handed over, for buf, which is used for a later one.
func (h *handed) take(index int, buf []byte) (Chunk, bool) {
	h.next = index
	for i, late := range h.chunks { // came when it had been read from the disk already
		if i < index {
			h.free(late.Body)
			delete(h.chunks, i)
		}
	}
	c, ok := h.chunks[index]
	if !ok {
		return c, false
	}
	delete(h.chunks, index)
	h.free(buf)
	return c, true
}

// free keeps a buffer for a later chunk.
func (h *handed) free(buf []byte) {
	if cap(buf) >= maxBody && len(h.spare) < ahead {
		h.spare = append(h.spare, buf)
	}
}
