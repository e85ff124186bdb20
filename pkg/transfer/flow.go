package transfer

import (
	"io"
	"sync/atomic"
	"time"
)

// flow counts the bytes that a channel swallows, and the time that takes, while it happens: on a slow line one chunk is
// written for seconds.
type flow struct {
	bytes atomic.Int64
	busy  atomic.Int64 // nanoseconds
}

// flowStep is how many bytes are counted at once.
const flowStep = 64 << 10

func (f *flow) wrap(w io.Writer) io.Writer { return flowWriter{w, f} }

type flowWriter struct {
	w    io.Writer
	flow *flow
}

// Write implements io.Writer.
func (f flowWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		step := min(flowStep, len(p)-done)
		began := time.Now()
		n, err := f.w.Write(p[done : done+step])
		f.flow.busy.Add(int64(time.Since(began)))
		f.flow.bytes.Add(int64(n))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
