package source

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxEntries is the most entries an archive may have: an image of 4096 layers needs a quarter of it.
const maxEntries = 1 << 16

// maxLinks is how many links may stand between a name and its file.
const maxLinks = 8

// tarFile is a plain tar whose entries are read where they lie: it is indexed once and nothing is unpacked.
type tarFile struct {
	file    *os.File
	entries map[string]tarEntry
	remove  bool // the file is ours and goes with close
}

// tarEntry is where a file's bytes are, or the name that a link means.
type tarEntry struct {
	offset, size int64
	link         string
}

// indexTar reads the headers of the tar in file, which it then owns.
func indexTar(file *os.File) (*tarFile, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	t := &tarFile{file: file, entries: map[string]tarEntry{}}
	r := tar.NewReader(file)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, malformed("read archive: %w", err)
		}
		if err := t.add(h, info.Size()); err != nil {
			return nil, err
		}
	}
}

// add notes the entry whose data begins where the file stands now.
func (t *tarFile) add(h *tar.Header, total int64) error {
	name, err := checkHeader(h, len(t.entries))
	if err != nil || name == "" {
		return err
	}
	e := tarEntry{size: h.Size}
	switch h.Typeflag {
	case tar.TypeReg:
		if e.offset, err = t.file.Seek(0, io.SeekCurrent); err != nil {
			return err
		}
		if e.size > total-e.offset {
			return malformed("the archive ends within %.200s", name)
		}
	case tar.TypeSymlink:
		e.link, err = cleanName(path.Join(path.Dir(name), h.Linkname))
	case tar.TypeLink:
		e.link, err = cleanName(h.Linkname)
	}
	if err != nil {
		return err
	}
	if _, twice := t.entries[name]; twice {
		return malformed("the archive has two entries named %.200q", name)
	}
	t.entries[name] = e
	return nil
}

// checkHeader returns the clean name of an entry that matters, or "" for a folder.
func checkHeader(h *tar.Header, seen int) (string, error) {
	if seen >= maxEntries {
		return "", malformed("the archive has more than %d entries", maxEntries)
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return "", err
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return "", malformed("%.200s is stored as a sparse file", name)
		}
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return "", nil
	case tar.TypeSymlink, tar.TypeLink:
		if strings.HasPrefix(h.Linkname, "/") {
			return "", malformed("%.200s is a link to %.200q", name, h.Linkname)
		}
		return name, nil
	case tar.TypeReg:
		return name, nil
	}
	return "", malformed("%.200s is neither a file nor a folder", name)
}

// find follows links to a file.
func (t *tarFile) find(name string) (tarEntry, error) {
	name, err := cleanName(name)
	for range maxLinks {
		if err != nil {
			return tarEntry{}, err
		}
		e, ok := t.entries[name]
		if !ok {
			return tarEntry{}, fmt.Errorf("%.200s: %w", name, fs.ErrNotExist)
		}
		if e.link == "" {
			return e, nil
		}
		name = e.link
	}
	return tarEntry{}, malformed("%.200s is a link without end", name)
}

func (t *tarFile) open(name string) (section, error) {
	e, err := t.find(name)
	if err != nil {
		return nil, err
	}
	return tarSection{io.NewSectionReader(t.file, e.offset, e.size)}, nil
}

func (t *tarFile) close() error {
	err := t.file.Close()
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	if t.remove {
		err = errors.Join(err, os.Remove(t.file.Name()))
	}
	return err
}

// tarSection is one file within a tar; the tar stays open.
type tarSection struct{ *io.SectionReader }

// Close does nothing: the bytes belong to the whole tar.
func (tarSection) Close() error { return nil }

// packing tells from the first bytes of a file how it is compressed.
func packing(s io.ReaderAt) (string, error) {
	head := make([]byte, 6)
	n, err := s.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	for magic, name := range magics {
		if strings.HasPrefix(string(head[:n]), magic) {
			return name, nil
		}
	}
	return plain, nil
}

// The ways in which an archive or a layer may be compressed; the names appear in messages.
const (
	plain = "tar"
	gzipd = "gzip"
	zstdd = "zstd"
)

var magics = map[string]string{
	"\x1f\x8b":         gzipd,
	"\x28\xb5\x2f\xfd": zstdd,
	"\xfd7zXZ\x00":     "xz",
	"BZh":              "bzip2",
	"\x04\x22\x4d\x18": "lz4",
}

// layerTypes are the media types of layers by their compression; engines read no others everywhere.
var layerTypes = map[string]string{
	plain: ocispec.MediaTypeImageLayer,
	gzipd: ocispec.MediaTypeImageLayerGzip,
	zstdd: ocispec.MediaTypeImageLayerZstd,
}

// describeConfig is the descriptor of configuration bytes that no manifest describes.
func describeConfig(d manifest.Digest, size int64) manifest.Descriptor {
	return manifest.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: d, Size: size}
}
