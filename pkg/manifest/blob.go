package manifest

import "io"

// BlobReader reads one blob from the offset at which it was opened. Size is the whole blob's size in bytes, not what is
// left, and is known from the start. A blob that is not what its digest says ends in an error instead of io.EOF when it
// was read from offset 0.
type BlobReader interface {
	io.ReadCloser
	Size() int64
}
