package bundle

import (
	"context"
	"io"
)

// An input is a stream whose reading ends with its context, even while the stream is silent: whoever sends a bundle may hang.
// The stream is read by a goroutine of its own, which after close ends as soon as the stream says something or ends.
type input struct {
	*io.PipeReader
	forget func() bool
}

func newInput(ctx context.Context, r io.Reader) *input {
	from, to := io.Pipe()
	go func() {
		_, err := io.CopyBuffer(to, struct{ io.Reader }{r}, make([]byte, readBuffer)) // large pieces, whatever r would rather do
		to.CloseWithError(err)
	}()
	return &input{from, context.AfterFunc(ctx, func() { to.CloseWithError(context.Cause(ctx)) })}
}

func (i *input) close() {
	i.forget()
	i.Close()
}
