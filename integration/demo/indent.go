//go:build linux

package main

import (
	"bytes"
	"io"
)

// indented sets what others print apart from what the demo says.
type indented struct {
	to  io.Writer
	mid bool // the line has begun
}

// Write implements io.Writer.
func (w *indented) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line = rest[:i+1]
		}
		rest = rest[len(line):]
		if !w.mid {
			line = append([]byte("   "), line...)
		}
		w.mid = line[len(line)-1] != '\n'
		if _, err := w.to.Write(line); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
