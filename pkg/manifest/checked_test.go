package manifest

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
)

func TestChecked(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 1000)
	d := Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
	flipped := bytes.Clone(data)
	flipped[77] = 'x'
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		from   io.Reader
		offset int64
		says   string // "" when all is right
	}{
		"right":              {bytes.NewReader(data), 0, ""},
		"right, from within": {bytes.NewReader(data[700:]), 700, ""},
		"right, at the end":  {bytes.NewReader(nil), d.Size, ""},
		"right, byte-wise":   {iotest.OneByteReader(bytes.NewReader(data)), 0, ""},
		"right, with EOF":    {iotest.DataErrReader(bytes.NewReader(data)), 0, ""},
		"short":              {bytes.NewReader(data[:900]), 0, "ends after 900 of 10000 bytes"},
		"short, from within": {bytes.NewReader(data[700:900]), 700, "ends after 900 of 10000 bytes"},
		"long":               {io.MultiReader(bytes.NewReader(data), strings.NewReader("x")), 0, "more than 10000"},
		"wrong":              {bytes.NewReader(flipped), 0, "another digest"},
		"wrong, with EOF":    {iotest.DataErrReader(bytes.NewReader(flipped)), 0, "another digest"},
		"fails":              {io.MultiReader(bytes.NewReader(data[:50]), iotest.ErrReader(broken)), 0, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			told := false
			r := NewChecked(io.NopCloser(c.from), d, c.offset)
			r.OnWrong(func() { told = true })
			got, err := io.ReadAll(r)
			if c.says == "" {
				if err != nil || !bytes.Equal(got, data[c.offset:]) || told {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v, want %q", err, c.says)
			}
			if ours := KindOf(err) == KindIntegrity; ours != !errors.Is(err, broken) || ours != told {
				t.Errorf("kind %s, told %v", KindOf(err), told)
			}
			if c.says == "another digest" && len(got) == len(data) {
				t.Error("a wrong blob was given away whole")
			}
			if _, again := r.Read(make([]byte, 1)); again == nil || again.Error() != err.Error() {
				t.Errorf("reading on gives %v", again)
			}
		})
	}
}
