package triton

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkContents looks whether a model file is what it claims to be, by its beginning and, of a zip archive, its end.
func (c *checker) checkContents(e *entry) {
	if e.size == 0 {
		c.refuse(RuleFileEmpty, c.at(e.path), "the file is empty").advise("copy it again")
		return
	}
	head, err := e.read(0, 512)
	switch {
	case err != nil:
		c.refuse(RuleUnreadable, c.at(e.path), "the file cannot be read: %v", err).advise("make it readable, or run as its owner")
	case isPointer(head) && e.size < pointerLimit: // checkFiles says so
	case isPage(head):
		c.refuse(RuleFilePage, c.at(e.path), "this is a web page, not a model: a download that went wrong").advise("download the file again, logged in where that is needed")
	default:
		c.checkFormat(e, head)
	}
}

// checkFormat looks whether a file is what the backend reads.
func (c *checker) checkFormat(e *entry, head []byte) {
	switch ext := path.Ext(e.path); {
	case ext == ".onnx":
		c.checkProto(e, head, "an ONNX model", 7)
	case c.backend.platform == platformGraphDef:
		c.checkProto(e, head, "a frozen TensorFlow graph", 1)
	case c.backend.platform == platformSavedModel && ext == ".pb":
		c.checkProto(e, head, "a TensorFlow model", 2)
	case c.backend.name == backendPyTorch:
		c.checkZip(e, head)
	case c.backend.name == backendTensorRT && isText(head):
		c.wrongFormat(e, "a TensorRT plan", head)
	case ext == ".xml":
		if start, _ := e.read(0, 64<<10); !bytes.Contains(start, []byte("<net")) {
			c.wrongFormat(e, "an OpenVINO model", head)
		}
	}
}

// foreign are formats that are met where another was meant, by their first bytes.
var foreign = []struct{ start, is, advice string }{
	{"\x1f\x8b", "compressed with gzip", "unpack it"},
	{"PK\x03\x04", "a zip archive", "unpack it, or export the model again"},
	{"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it"},
	{"\x80\x02", "a Python pickle, as torch.save writes it", "export the model with torch.jit.save"},
	{"\x89HDF", "an HDF5 file, as Keras writes it", "export the model as a SavedModel or as ONNX"},
}

func isForeign(head []byte) bool {
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.start)) {
			return true
		}
	}
	return false
}

// wrongFormat notes that e is not what is wanted, and what it is instead if that is known.
func (c *checker) wrongFormat(e *entry, want string, head []byte) {
	f := c.refuse(RuleFileFormat, c.at(e.path), "this is not %s", want)
	f.advise("export the model again, or copy the right file here")
	if isText(head) {
		f.Text += " but a text"
	}
	for _, other := range foreign {
		if bytes.HasPrefix(head, []byte(other.start)) {
			f.Text += " but " + other.is
			f.advise("%s", other.advice)
		}
	}
}

// zipTail is how much of the end of a zip archive may hold its directory's last record: 22 bytes and a comment.
const zipTail = 22 + 65535

func (c *checker) checkZip(e *entry, head []byte) {
	if !bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		c.wrongFormat(e, "a model as PyTorch exports it for servers", head)
		return
	}
	tail, err := e.read(max(0, e.size-zipTail), zipTail)
	if err == nil && !bytes.Contains(tail, []byte("PK\x05\x06")) {
		c.cutShort(e)
	}
}

func (c *checker) cutShort(e *entry) {
	c.refuse(RuleFileShort, c.at(e.path), "the file is cut short: its end is missing").advise("copy it again; a transfer broke off")
}

// checkProto walks over the outermost fields of a protobuf, without reading what is in them. One of them must have number
// field and a length.
func (c *checker) checkProto(e *entry, head []byte, want string, field uint64) {
	f, err := os.Open(e.real)
	if err != nil {
		return // checkContents could read it a moment ago
	}
	defer f.Close()
	seen, end := false, int64(0)
	for n := 0; end >= 0 && end < e.size && n < maxProtoFields && !isText(head) && !isForeign(head); n++ {
		var number uint64
		var wire int
		number, wire, end = protoField(f, end, e.size)
		seen = seen || number == field && wire == 2
	}
	switch {
	case end < 0 || !seen:
		c.wrongFormat(e, want, head)
	case end > e.size:
		c.cutShort(e)
	}
}

// maxProtoFields bounds the walk; a graph has as many outermost fields as it has nodes.
const maxProtoFields = 200_000

// protoField reads the head of the field at offset at and says where the next one begins: beyond size when this one does
// not end within it, below 0 when there is no field.
func protoField(r io.ReaderAt, at, size int64) (number uint64, wire int, next int64) {
	var b [20]byte
	n, _ := r.ReadAt(b[:], at)
	tag, tagLen := binary.Uvarint(b[:n])
	value, valueLen := binary.Uvarint(b[max(tagLen, 0):n])
	if tagLen <= 0 {
		return 0, 0, -1
	}
	number, wire, next = tag>>3, int(tag&7), at+int64(tagLen)
	if number == 0 || number > 1<<16 {
		return 0, wire, -1
	}
	short := valueLen == 0 && at+int64(n) >= size // the file ends within the number
	switch wire {
	case 0, 2:
		if short {
			return number, wire, size + 1
		}
		if valueLen <= 0 || (wire == 2 && value > 1<<62) {
			return 0, wire, -1
		}
		next += int64(valueLen)
		if wire == 2 {
			next += int64(value)
		}
	case 1:
		next += 8
	case 5:
		next += 4
	default:
		return 0, wire, -1
	}
	return number, wire, next
}

// isPointer reports whether head is what git keeps in place of a file that lies in its large file storage.
func isPointer(head []byte) bool {
	return bytes.HasPrefix(head, []byte("version https://git-lfs"))
}

// isPage reports whether head is the beginning of a web page.
func isPage(head []byte) bool {
	start := strings.ToLower(strings.TrimSpace(string(bytes.TrimPrefix(head, byteOrderMark))))
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<error>", "<?xml version=\"1.0\" encoding=\"utf-8\"?><error>"} {
		if strings.HasPrefix(start, tag) {
			return true
		}
	}
	return false
}

// isText reports whether head can be the beginning of a text.
func isText(head []byte) bool {
	for len(head) > 0 {
		r, n := utf8.DecodeRune(head)
		if r == utf8.RuneError && n == 1 && len(head) > utf8.UTFMax {
			return false
		}
		if unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
		head = head[n:]
	}
	return true
}
