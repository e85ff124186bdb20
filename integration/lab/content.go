//go:build linux

package lab

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
)

// Content is what the files of a layer are made of.
type Content int

// The contents of layers. Each is the same for the same seed and size, System on the same machine only.
const (
	System Content = iota // programs, libraries and texts of this machine: shrinks as real images do, to about a third
	Random                // does not shrink, as model weights
	Half                  // shrinks to a half: random blocks and text in turns
)

// A Layer describes the files that one layer adds.
type Layer struct {
	Content  Content
	Size     int64  // bytes of all files together
	Seed     uint64 // another seed gives other files
	FileSize int64  // size of the files of Random and Half; default 16 MiB
	Dir      string // folder in the image, without a leading slash; System keeps its paths below it
}

// A file is one regular file of a layer, not yet read.
type file struct {
	path  string // slash path in the image, without a leading slash
	size  int64
	stamp int64 // time of the file it is taken from, if any
	open  func() (io.ReadCloser, error)
}

// files lists what the layer holds.
func (l Layer) files() ([]file, error) {
	if l.Content == System {
		return l.systemFiles()
	}
	each := l.FileSize
	if each <= 0 {
		each = 16 << 20
	}
	var all []file
	for at := int64(0); at < l.Size; at += each {
		n, seed := min(each, l.Size-at), l.Seed^uint64(at)<<20
		all = append(all, file{
			path: filepath.Join(l.Dir, "data", fmt.Sprintf("%x-%05d.bin", l.Seed, len(all))),
			size: n,
			open: func() (io.ReadCloser, error) {
				return io.NopCloser(io.LimitReader(newReader(l.Content, seed), n)), nil
			},
		})
	}
	return all, nil
}

// systemFiles takes files of /usr in an order that the seed decides, until the size is reached; the last one is cut.
// When /usr is too small it is taken again, with every byte changed by a constant: that shrinks as well as the first
// time, but no chunk of it equals one of the first.
func (l Layer) systemFiles() ([]file, error) {
	usr, err := usrFiles()
	if err != nil {
		return nil, err
	}
	var all []file
	var left = l.Size
	for pass := 0; left > 0; pass++ {
		order := rand.New(rand.NewPCG(l.Seed, uint64(pass))).Perm(len(usr))
		for _, i := range order {
			if left <= 0 {
				break
			}
			f := usr[i]
			n := min(f.size, left)
			left -= n
			all = append(all, file{path: filepath.Join(l.Dir, passDir(pass), f.path), size: n, stamp: f.stamp, open: openSystem(f.path, n, byte(pass))})
		}
	}
	return all, nil
}

func passDir(pass int) string {
	if pass == 0 {
		return ""
	}
	return fmt.Sprintf("pass%d", pass)
}

func openSystem(path string, n int64, change byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		f, err := os.Open("/" + path)
		if err != nil {
			return nil, err
		}
		r := struct {
			io.Reader
			io.Closer
		}{io.LimitReader(f, n), f}
		if change != 0 {
			r.Reader = &changed{r.Reader, change}
		}
		return r, nil
	}
}

// changed is a reader with every byte xored with by.
type changed struct {
	r  io.Reader
	by byte
}

func (c *changed) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i := range p[:n] {
		p[i] ^= c.by
	}
	return n, err
}

// usrFiles lists the regular files of /usr of 8 KiB to 64 MiB, in the order of their names. The many small ones would
// make loading slow and hold few bytes.
var usrFiles = sync.OnceValues(func() ([]file, error) {
	var all []file
	for _, root := range []string{"/usr/bin", "/usr/lib", "/usr/share"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // a folder that vanished or may not be read is simply not part of it
			}
			if fi, err := d.Info(); err == nil && fi.Size() >= 8<<10 && fi.Size() <= 64<<20 {
				all = append(all, file{path: path[1:], size: fi.Size(), stamp: fi.ModTime().UnixNano()})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no files in /usr to make layers of")
	}
	return all, nil
})

// newReader returns an endless reader of Random or Half content.
func newReader(c Content, seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	r := rand.NewChaCha8(key)
	if c == Random {
		return r
	}
	return &half{r: r}
}

// half gives blocks of 4 KiB, random bytes and zero bytes in turns.
type half struct {
	r  *rand.ChaCha8
	at int
}

func (h *half) Read(p []byte) (int, error) {
	const block = 4 << 10
	n := min(len(p), block-h.at%block)
	if h.at/block%2 == 0 {
		_, _ = h.r.Read(p[:n]) // never fails
	} else {
		clear(p[:n])
	}
	h.at = (h.at + n) % (2 * block)
	return n, nil
}
