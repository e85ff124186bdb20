package bundle

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// Headers are read here and not by archive/tar, because that package reads every dialect there is: sparse files of three kinds,
// PAX records that change a size or a name after the fact, global headers, GNU's long names, bare V7. Each of those has been
// a way in, and what it makes of them can no longer be told from a plain file. A bundle needs one kind of header, POSIX
// ustar (https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06), and every byte of it that
// could mean something else must be zero. Only where a size needs more than octal digits is the header GNU tar's, because
// ustar has no way to say it.

// tarBlock is the unit of a tar in bytes: headers are one block, contents are filled up to whole ones.
const tarBlock = 512

// octalMax is the largest size that the octal digits of a header can tell. Larger ones are written in base 256.
const octalMax = 1<<33 - 1

// maxBlob is the most bytes that anything in a bundle may have; far above any layer, and far below what could overflow.
const maxBlob = 1 << 50

// tarHeader is what counts in a header.
type tarHeader struct {
	name string
	size int64
}

// The fields of a header: where they begin and end.
var (
	fieldName     = field{0, 100}
	fieldMode     = field{100, 108}
	fieldUID      = field{108, 116}
	fieldGID      = field{116, 124}
	fieldSize     = field{124, 136}
	fieldTime     = field{136, 148}
	fieldSum      = field{148, 156}
	fieldKind     = field{156, 157}
	fieldLink     = field{157, 257}
	fieldMagic    = field{257, 265}
	fieldMajor    = field{329, 337}
	fieldMinor    = field{337, 345}
	fieldPrefix   = field{345, 500}
	fieldPadding  = field{500, 512}
	ustar         = []byte("ustar\x0000")
	gnu           = []byte("ustar  \x00")
	mustBeZero    = []field{fieldLink, fieldPrefix, fieldPadding}
	mustBeNumbers = []field{fieldUID, fieldGID, fieldTime}
)

type field struct{ from, to int }

func (f field) of(b []byte) []byte { return b[f.from:f.to] }

// kinds names what an entry can be instead of a regular file, for people.
var kinds = map[byte]string{
	0: "a file of the oldest kind of tar", '1': "a hard link", '2': "a symbolic link", '3': "a character device", '4': "a block device", '5': "a folder", '6': "a fifo",
	'7': "a contiguous file", 'g': "a global extended header", 'x': "an extended header", 'L': "a long name of GNU tar", 'K': "a long link of GNU tar",
	'S': "a sparse file", 'V': "a volume label", 'M': "a continued file", 'D': "a folder of GNU tar",
}

// parseHeader reads a header that is not all zeros. It fails with KindIntegrity when its checksum is wrong, with KindMalformed
// when it is no header of a bundle.
func parseHeader(b []byte) (tarHeader, error) {
	large := fieldSize.of(b)[0]&0x80 != 0
	if magic := fieldMagic.of(b); !large && !bytes.Equal(magic, ustar) || large && !bytes.Equal(magic, gnu) {
		return tarHeader{}, malformed("there is no header of a POSIX tar")
	}
	if !sumFits(b) {
		return tarHeader{}, damaged("a header is damaged: its checksum is wrong")
	}
	name, ok := text(fieldName.of(b))
	if !ok || name == "" {
		return tarHeader{}, malformed("an entry has no proper name")
	}
	if kind := fieldKind.of(b)[0]; kind != '0' {
		what := kinds[kind]
		if what == "" {
			what = "of an unknown kind"
		}
		return tarHeader{}, malformed("%.200q is not a regular file but %s", name, what)
	}
	for _, f := range mustBeZero {
		if !isZero(f.of(b)) {
			return tarHeader{}, malformed("the header of %.200q has more in it than a regular file needs", name)
		}
	}
	for _, f := range mustBeNumbers {
		if _, ok := octal(f.of(b)); !ok {
			return tarHeader{}, malformed("the header of %.200q has something else where a number belongs", name)
		}
	}
	for _, f := range []field{fieldMajor, fieldMinor} {
		if n, ok := octal(f.of(b)); !isZero(f.of(b)) && (!ok || n != 0) {
			return tarHeader{}, malformed("%.200q has the number of a device", name)
		}
	}
	if mode, ok := octal(fieldMode.of(b)); !ok || mode&^0o777 != 0 {
		return tarHeader{}, malformed("%.200q has a mode that no plain file has", name)
	}
	size, ok := tarSize(fieldSize.of(b))
	if !ok {
		return tarHeader{}, malformed("%.200q has a size that no file has", name)
	}
	return tarHeader{name: name, size: size}, nil
}

// sumFits compares the checksum of a header: the sum of its bytes, its own taken for spaces.
func sumFits(b []byte) bool {
	f := fieldSum.of(b)
	told, err := strconv.ParseUint(string(f[:6]), 8, 32)
	if err != nil || f[6] != 0 || f[7] != ' ' {
		return false
	}
	sum := uint64(8 * ' ')
	for i, c := range b[:tarBlock] {
		if i < fieldSum.from || i >= fieldSum.to {
			sum += uint64(c)
		}
	}
	return sum == told
}

// text reads a field that ends with its first zero, behind which nothing may stand.
func text(f []byte) (string, bool) {
	s, rest, _ := bytes.Cut(f, []byte{0})
	return string(s), isZero(rest)
}

// octal reads octal digits that end with zeros or spaces.
func octal(f []byte) (int64, bool) {
	digits := bytes.TrimRight(f, "\x00 ")
	if len(digits) == 0 || len(digits) == len(f) {
		return 0, false
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '7' {
			return 0, false
		}
		n = n<<3 | int64(c-'0') // 11 digits at most
	}
	return n, true
}

// tarSize reads a size: octal, or in base 256 where octal would not do.
func tarSize(f []byte) (int64, bool) {
	if f[0]&0x80 == 0 {
		return octal(f)
	}
	if f[0] != 0x80 || !isZero(f[1:4]) { // negative, or beyond 64 bits
		return 0, false
	}
	n := binary.BigEndian.Uint64(f[4:])
	return int64(n), n > octalMax && n <= maxBlob
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
