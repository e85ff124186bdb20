package transfer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

func TestGreetingIsNotAwaitedLongerThanItsContext(t *testing.T) {
	silent, _ := io.Pipe() // never closed: the reader is left behind, as with a host that goes on saying nothing
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- (&channel{}).greeted(ctx, bufio.NewReader(silent)) }()
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still waiting for a host that says nothing")
	}
}
