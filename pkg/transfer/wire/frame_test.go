package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestFramesSurviveTheWire(t *testing.T) {
	var pipe bytes.Buffer
	w := NewWriter(&pipe)
	body := bytes.Repeat([]byte("body"), 1000)
	if _, err := w.Send(Message{Type: TPut, ID: 7, Put: &Put{Codec: "raw", Sum: 1<<64 - 1}}, body); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Send(Message{Type: TPing, ID: 8}, nil); err != nil {
		t.Fatal(err)
	}
	m, got, err := Read(&pipe, nil)
	if err != nil || m.ID != 7 || m.Put.Sum != 1<<64-1 || !bytes.Equal(got, body) {
		t.Fatalf("%+v, %d bytes, %v", m, len(got), err)
	}
	if m, got, err = Read(&pipe, got); err != nil || m.Type != TPing || len(got) != 0 {
		t.Fatalf("%+v, %d bytes, %v", m, len(got), err)
	}
	if _, _, err = Read(&pipe, nil); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestReadRefusesMalformedFrames(t *testing.T) {
	frame := func(head, body uint32, content string) string {
		b := binary.BigEndian.AppendUint32(nil, head)
		return string(binary.BigEndian.AppendUint32(b, body)) + content
	}
	tests := map[string]struct {
		in   string
		want error
	}{
		"huge header":   {frame(MaxHeader+1, 0, "{}"), nil},
		"huge body":     {frame(2, uint32(MaxBody+1), "{}"), nil},
		"no JSON":       {frame(2, 0, "xx"), nil},
		"cut header":    {frame(20, 0, "{"), io.ErrUnexpectedEOF},
		"cut body":      {frame(2, 20, "{}x"), io.ErrUnexpectedEOF},
		"no body":       {frame(2, 20, "{}"), io.ErrUnexpectedEOF},
		"cut in sizes":  {frame(2, 0, "")[:5], io.ErrUnexpectedEOF},
		"header absent": {frame(2, 0, ""), io.ErrUnexpectedEOF},
	}
	for name, tt := range tests {
		_, _, err := Read(strings.NewReader(tt.in), nil)
		if err == nil || (tt.want != nil && !errors.Is(err, tt.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAwaitGreetingSkipsWhatLoginScriptsPrint(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("Welcome!\nlast login: today " + Greeting() + "rest"))
	chatter, err := AwaitGreeting(r)
	rest, _ := io.ReadAll(r)
	if err != nil || !strings.HasPrefix(chatter, "Welcome!") || string(rest) != "rest" {
		t.Errorf("%q, %q, %v", chatter, rest, err)
	}
	if _, err := AwaitGreeting(bufio.NewReader(strings.NewReader("no agent here\n"))); err != io.EOF {
		t.Errorf("without greeting: %v", err)
	}
	endless := bufio.NewReader(io.LimitReader(repeat('x'), 1<<30))
	if _, err := AwaitGreeting(endless); err == nil {
		t.Error("endless chatter was accepted")
	}
}

type repeat byte

func (b repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

func TestFailureKeepsItsKindAndLosesControlCharacters(t *testing.T) {
	f := manifest.Fail(manifest.KindSpace, "st\x1bage", "disk\n%w", io.ErrShortWrite).Advise("delete\x07")
	f.Absent = []manifest.Digest{"sha256:x"}
	err := Pack(f).Unpack()
	var got *manifest.Failure
	if !errors.As(err, &got) || got.Kind != manifest.KindSpace || len(got.Absent) != 1 {
		t.Fatalf("%#v", err)
	}
	if strings.ContainsAny(err.Error()+got.Hint, "\x1b\x07\n") {
		t.Errorf("control characters: %q", err.Error()+got.Hint)
	}
}
