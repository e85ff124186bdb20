package engine

import (
	"errors"

	"github.com/clara-push/clara-push/pkg/manifest"
	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of containerd's services/content/v1/content.proto that are needed here, by field number:
//
//	ListContentResponse { repeated Info info = 1 }
//	Info                { string digest = 1; int64 size = 2; map<string, string> labels = 5 }
//	ReadContentRequest  { string digest = 1; int64 offset = 2 }
//	ReadContentResponse { int64 offset = 1; bytes data = 2 }

// diffIDLabel is set by containerd on a layer blob that it has unpacked.
const diffIDLabel = "containerd.io/uncompressed"

var errWire = errors.New("malformed message")

// fields calls f for each field of a message: number, and value as a number or as bytes, whichever it is.
func fields(msg []byte, f func(n protowire.Number, v uint64, b []byte) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return errWire
		}
		msg = msg[n:]
		var v uint64
		var b []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(msg)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(msg)
		default:
			n = protowire.ConsumeFieldValue(num, typ, msg)
		}
		if n < 0 {
			return errWire
		}
		msg = msg[n:]
		if err := f(num, v, b); err != nil {
			return err
		}
	}
	return nil
}

// parseList appends the blobs of a ListContentResponse that have a sound digest to blobs.
func parseList(msg []byte, blobs []manifest.Blob) ([]manifest.Blob, error) {
	err := fields(msg, func(n protowire.Number, _ uint64, b []byte) error {
		if n != 1 {
			return nil
		}
		blob, err := parseInfo(b)
		if err == nil && manifest.CheckDigest(blob.Digest) == nil {
			blobs = append(blobs, blob)
		}
		return err
	})
	return blobs, err
}

func parseInfo(msg []byte) (manifest.Blob, error) {
	var blob manifest.Blob
	err := fields(msg, func(n protowire.Number, v uint64, b []byte) error {
		switch n {
		case 1:
			blob.Digest = manifest.Digest(b)
		case 2:
			blob.Size = int64(v)
		case 5:
			key, value, err := parseLabel(b)
			if key == diffIDLabel && manifest.CheckDigest(manifest.Digest(value)) == nil {
				blob.DiffID = manifest.Digest(value)
			}
			return err
		}
		return nil
	})
	return blob, err
}

func parseLabel(msg []byte) (key, value string, err error) {
	err = fields(msg, func(n protowire.Number, _ uint64, b []byte) error {
		switch n {
		case 1:
			key = string(b)
		case 2:
			value = string(b)
		}
		return nil
	})
	return key, value, err
}

// readRequest asks for a blob from offset to its end.
func readRequest(d manifest.Digest, offset int64) []byte {
	msg := protowire.AppendTag(nil, 1, protowire.BytesType)
	msg = protowire.AppendString(msg, string(d))
	msg = protowire.AppendTag(msg, 2, protowire.VarintType)
	return protowire.AppendVarint(msg, uint64(offset))
}

// parseRead returns a ReadContentResponse; data is part of msg.
func parseRead(msg []byte) (offset int64, data []byte, err error) {
	err = fields(msg, func(n protowire.Number, v uint64, b []byte) error {
		switch n {
		case 1:
			offset = int64(v)
		case 2:
			data = b
		}
		return nil
	})
	return offset, data, err
}
