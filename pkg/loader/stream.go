//go:build linux

package loader

import (
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// stream has the engine load the thin archive while it is written. What the engine unpacks once it has the whole, it unpacks into
// the page cache; the disk is put to work on that at once, because the proof will wait until it has been written.
func (l *loading) stream(ctx context.Context) error {
	loaded := make(chan struct{})
	defer close(loaded)
	_, err := l.host.engine.Load(ctx, func(ctx context.Context, w io.Writer) error {
		err := l.write(ctx, w)
		if err == nil {
			go l.host.writeBack(loaded)
		}
		return err
	})
	return err
}

// rest is how long the disk is left alone between two rounds of writing back.
const rest = time.Second

// writeBack has what the engine changes written to disk, again and again, until done is closed. Where this user may not look into the
// engine's folder, the kernel is left to itself.
func (h *Host) writeBack(done <-chan struct{}) {
	f, err := os.Open(h.engine.Describe().Root)
	if err != nil {
		return
	}
	defer f.Close()
	for {
		select {
		case <-done:
			return
		case <-time.After(rest):
			_ = unix.Syncfs(int(f.Fd())) // the proof will tell
		}
	}
}
