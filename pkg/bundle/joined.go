package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// joined is parts read as the one file that they were cut from.
type joined struct {
	file   string // what they were cut from
	files  []*os.File
	parts  []part
	starts []int64 // the offset of each part, and behind the last one the size of all

	mu   sync.Mutex
	good map[int]bool // parts that were hashed: whether they are as the list says
}

// openParts opens the parts that path means.
func openParts(ctx context.Context, path string) (container, Form, error) {
	dir, file, err := findParts(path)
	if err != nil {
		return nil, "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "", err
	}
	defer root.Close()
	list, err := listParts(root, file)
	if err != nil {
		return nil, "", err
	}
	j, err := join(root, list)
	if err != nil {
		return nil, "", err
	}
	in, err := indexTar(ctx, j)
	if err == nil {
		err = belong(in, list)
	}
	if err != nil {
		err = j.accuse(ctx, err)
		j.Close()
		return nil, "", err
	}
	return in, FormParts, nil
}

// belong sees that the list is of these parts.
func belong(in container, list partsDocument) error {
	raw, err := document(in, indexFile, maxIndex)
	if got := digest.FromBytes(raw); err == nil && list.Index != "" && got != list.Index {
		return damaged("index.json is not as it was made: the list of parts says %s, it is %s", list.Index, got)
	}
	return err
}

// join opens every part. It names all that are missing or have another size than the list says, and fails with KindNotFound
// when one is missing, else with KindIntegrity.
func join(root *os.Root, list partsDocument) (*joined, error) {
	j := &joined{file: list.file, parts: list.Parts, starts: []int64{0}, good: map[int]bool{}}
	var missing, unfit []string
	for _, p := range list.Parts {
		f, err := (&folder{root: root}).open(p.Name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, p.Name)
			continue
		case err != nil:
			j.Close()
			return nil, err
		case p.Size == 0: // of those without a list
			unfit = append(unfit, "the part "+p.Name+" has 0 bytes")
		case f.Size() != p.Size:
			unfit = append(unfit, fmt.Sprintf("the part %s has %d bytes instead of %d", p.Name, f.Size(), p.Size))
		}
		advise(f.File)
		j.files = append(j.files, f.File)
		j.starts = append(j.starts, j.Size()+p.Size)
	}
	if err := incomplete(list, missing, unfit); err != nil {
		j.Close()
		return nil, err
	}
	return j, nil
}

// incomplete is the failure of parts of which some are missing or have not the size that they were made with.
func incomplete(list partsDocument, missing, unfit []string) error {
	if len(missing) == 0 && len(unfit) == 0 {
		return nil
	}
	if len(missing) == 0 {
		return cut("%s", strings.Join(unfit, "; "))
	}
	what := fmt.Sprintf("%d of %d parts are missing: %s", len(missing), len(list.Parts), strings.Join(missing, ", "))
	return manifest.Fail(manifest.KindNotFound, stepRead, "%s", strings.Join(append([]string{what}, unfit...), "; ")).
		Advise("copy all parts into one folder")
}

// Size is how many bytes all parts have together.
func (j *joined) Size() int64 { return j.starts[len(j.starts)-1] }

// at is the number of the part that holds the byte at offset, which is one of them.
func (j *joined) at(offset int64) int {
	n, exact := slices.BinarySearch(j.starts, offset)
	if !exact {
		n--
	}
	return n
}

// ReadAt reads across parts.
func (j *joined) ReadAt(p []byte, offset int64) (int, error) {
	done := 0
	for done < len(p) {
		if offset >= j.Size() {
			return done, io.EOF
		}
		n := j.at(offset)
		want := p[done:min(int64(len(p)), int64(done)+j.starts[n+1]-offset)]
		got, err := j.files[n].ReadAt(want, offset-j.starts[n])
		done, offset = done+got, offset+int64(got)
		if got < len(want) {
			if err == nil || errors.Is(err, io.EOF) {
				err = cut("the part %s became shorter", j.parts[n].Name)
			}
			return done, err
		}
	}
	return done, nil
}

func (j *joined) part(offset int64) string {
	return j.parts[j.at(min(max(offset, 0), j.Size()-1))].Name
}

func (j *joined) blame(ctx context.Context, offset, n int64) ([]string, error) {
	if n == 0 {
		return nil, nil
	}
	var all, bad []string
	for i := j.at(offset); i <= j.at(offset+n-1); i++ {
		all = append(all, j.parts[i].Name)
		good, err := j.check(ctx, i)
		if err != nil {
			return nil, err
		}
		if !good {
			bad = append(bad, j.parts[i].Name)
		}
	}
	if len(bad) == 0 {
		return all, nil
	}
	return bad, nil
}

// check reports whether a part is as the list says, or the list says nothing. Each part is hashed once: it may be large, and
// much in it damaged.
func (j *joined) check(ctx context.Context, i int) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.parts[i]
	if good, known := j.good[i]; known || p.Digest == "" {
		return good || p.Digest == "", nil
	}
	got, err := hashAll(ctx, io.NewSectionReader(j.files[i], 0, p.Size), make([]byte, readBuffer), nil)
	if ctx.Err() != nil {
		return false, stopped(ctx)
	}
	j.good[i] = err == nil && got == p.Digest
	return j.good[i], nil
}

// accuse finds the parts by whose fault the bundle cannot be read: those that are not as the list says. Without a list it says
// that nobody can tell. Other failures than of the bundle stay as they are.
func (j *joined) accuse(ctx context.Context, err error) error {
	if k := manifest.KindOf(err); k != manifest.KindMalformed && k != manifest.KindIntegrity {
		return err
	}
	if j.parts[0].Digest == "" {
		f := *asFailure(err)
		return f.Advise("there is no %s%s, which tells whether a part is damaged, missing at the end, or of another bundle: copy it, and all parts, again", j.file, partsSuffix)
	}
	var bad []string
	for i, p := range j.parts {
		good, failed := j.check(ctx, i)
		if failed != nil {
			return failed
		}
		if !good {
			bad = append(bad, p.Name)
		}
	}
	if len(bad) == 0 {
		return err
	}
	what, how := "the part "+bad[0]+" is not as", "it is damaged, or of another bundle"
	if len(bad) > 1 {
		what, how = "the parts "+strings.Join(bad, ", ")+" are not as", "they are damaged, exchanged, or of another bundle"
	}
	return damaged("%s %s%s says: %s; that is why %w", what, j.file, partsSuffix, how, asFailure(err).Err).
		Advise("copy all parts again from where they were made, each under its own name")
}

// Close closes every part.
func (j *joined) Close() error {
	var errs []error
	for _, f := range j.files {
		errs = append(errs, f.Close())
	}
	j.files = nil
	return errors.Join(errs...)
}

// hashAll hashes what r has, through buf, and tells of every stretch that it has read.
func hashAll(ctx context.Context, r io.Reader, buf []byte, tell func(int64)) (manifest.Digest, error) {
	h := digest.SHA256.Digester()
	for {
		if ctx.Err() != nil {
			return "", stopped(ctx)
		}
		n, err := r.Read(buf)
		_, _ = h.Hash().Write(buf[:n]) // never fails
		if tell != nil {
			tell(int64(n))
		}
		if errors.Is(err, io.EOF) {
			return h.Digest(), nil
		}
		if err != nil {
			return "", unreadable(err)
		}
	}
}

// inParts reads " in the part FILE.002"; nothing when there are no parts.
func inParts(names []string) string {
	switch len(names) {
	case 0:
		return ""
	case 1:
		return " in the part " + names[0]
	}
	return " in one of the parts " + strings.Join(names, ", ")
}
