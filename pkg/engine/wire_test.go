package engine

import (
	"slices"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"google.golang.org/protobuf/encoding/protowire"
)

func text(msg []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(msg, n, protowire.BytesType), s)
}

func number(msg []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(msg, n, protowire.VarintType), v)
}

func info(digest string, size uint64, labels ...string) []byte {
	msg := number(text(nil, 1, digest), 2, size)
	msg = text(msg, 3, "a timestamp that is passed over")
	for i := 0; i < len(labels); i += 2 {
		msg = text(msg, 5, string(text(text(nil, 1, labels[i]), 2, labels[i+1])))
	}
	return msg
}

func TestParseList(t *testing.T) {
	msg := text(nil, 1, string(info("sha256:"+hexA, 42, "containerd.io/gc.ref", "x", diffIDLabel, "sha256:"+hexB)))
	msg = text(msg, 1, string(info("sha256:"+hexB, 7, diffIDLabel, "../../etc")))
	msg = text(msg, 1, string(info("../../etc/passwd", 7)))
	blobs, err := parseList(msg, nil)
	want := []manifest.Blob{{Digest: "sha256:" + hexA, Size: 42, DiffID: "sha256:" + hexB}, {Digest: "sha256:" + hexB, Size: 7}}
	if err != nil || !slices.Equal(blobs, want) {
		t.Errorf("got %v, %v", blobs, err)
	}
	for n := range msg {
		if n == 0 {
			continue
		}
		if blobs, err := parseList(msg[:n], nil); err == nil && len(blobs) > 2 {
			t.Errorf("cut at %d: %v", n, blobs)
		}
	}
	if _, err := parseList(msg[:len(msg)-1], nil); err == nil {
		t.Error("a message cut short is taken")
	}
}

func TestReadMessages(t *testing.T) {
	var digest string
	var offset uint64
	err := fields(readRequest("sha256:"+hexA, 1<<40), func(n protowire.Number, v uint64, b []byte) error {
		switch n {
		case 1:
			digest = string(b)
		case 2:
			offset = v
		}
		return nil
	})
	if err != nil || digest != "sha256:"+hexA || offset != 1<<40 {
		t.Errorf("got %s %d %v", digest, offset, err)
	}
	at, data, err := parseRead(text(number(nil, 1, 5), 2, "bytes"))
	if at != 5 || string(data) != "bytes" || err != nil {
		t.Errorf("got %d %q %v", at, data, err)
	}
}
