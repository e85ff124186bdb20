//go:build linux

package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// TestWorkOfAnEndedSessionFailsAsALostConnection shows that a client that slept through the agent's patience connects
// again, and that a failure with a reason of its own keeps it.
func TestWorkOfAnEndedSessionFailsAsALostConnection(t *testing.T) {
	silence := manifest.Fail(manifest.KindConnect, "agent", "no sign of life")
	for _, c := range []struct {
		ended, err error
		want       manifest.Kind
	}{
		{nil, context.Canceled, manifest.KindInternal},
		{silence, context.Canceled, manifest.KindConnect},
		{io.EOF, errors.New("load: context canceled"), manifest.KindConnect},
		{silence, manifest.Fail(manifest.KindInterrupted, "agent", "gone"), manifest.KindConnect},
		{silence, manifest.Fail(manifest.KindSpace, "load", "disk full"), manifest.KindSpace},
	} {
		var sent bytes.Buffer
		s := &session{out: wire.NewWriter(&sent)}
		if c.ended != nil {
			s.stop(func() {}, c.ended)
		}
		s.fail(1, c.err)
		m, _, err := wire.Read(&sent, nil)
		if err != nil || m.Failure == nil {
			t.Fatalf("%v: no failure was sent: %v", c.err, err)
		}
		if got := manifest.KindOf(m.Failure.Unpack()); got != c.want {
			t.Errorf("%v after %v: kind %q, want %q", c.err, c.ended, got, c.want)
		}
	}
}

func TestEveryByteIsASignOfLife(t *testing.T) {
	signs := 0
	r := lively{iotest.OneByteReader(strings.NewReader("slow")), func() { signs++ }}
	if _, err := io.ReadAll(r); err != nil || signs != 4 {
		t.Errorf("%d signs of life for 4 bytes, error %v", signs, err)
	}
}
