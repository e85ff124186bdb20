//go:build linux

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// pollers look at a repository with the one model m as fast as they can, while its whole content alternates: every file of
// it holds the same word.
type pollers struct {
	p    *placer
	stop atomic.Bool
	wg   sync.WaitGroup

	mu        sync.Mutex
	walks     int
	straddles int           // walks by path during which the model was exchanged, noticed by device and inode
	outlived  int           // walks that took longer than a replaced tree is left alone
	absence   time.Duration // the longest
	wrong     []string
}

func (w *pollers) note(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *pollers) wrongly(format string, args ...any) {
	w.note(func() { w.wrong = append(w.wrong, fmt.Sprintf(format, args...)) })
}

// words walks a tree and returns the words that its files hold, and how many files there are.
func words(tree fs.FS) (found string, files int, err error) {
	seen := map[string]bool{}
	err = fs.WalkDir(tree, ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(tree, p)
		if word := string(raw); err == nil && !seen[word] {
			seen[word] = true
			found += word + " "
		}
		files++
		return err
	})
	return strings.TrimSpace(found), files, err
}

// byHandle opens the model directory once for each walk and goes on from there.
func (w *pollers) byHandle(files int) {
	for !w.stop.Load() {
		root, err := os.OpenRoot(w.p.at("m"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // counted by who lists
		}
		if err != nil {
			w.wrongly("open: %v", err)
			return
		}
		began := time.Now()
		found, n, err := words(root.FS())
		root.Close()
		switch {
		case err == nil && n == files && (found == "one" || found == "two"):
			w.note(func() { w.walks++ })
		case time.Since(began) > walking/2:
			w.note(func() { w.outlived++ })
		default:
			w.wrongly("by handle: %d files with %q, %v", n, found, err)
		}
	}
}

// byPath walks from the name each time, as a server does.
func (w *pollers) byPath(files int) {
	for !w.stop.Load() {
		before, errB := os.Stat(w.p.at("m"))
		found, n, err := words(os.DirFS(w.p.at("m")))
		after, errA := os.Stat(w.p.at("m"))
		switch {
		case errB != nil || errA != nil:
		case !os.SameFile(before, after):
			w.note(func() { w.straddles++ })
		case err != nil || n != files || (found != "one" && found != "two"):
			w.wrongly("by path: %d files with %q, %v", n, found, err)
		default:
			w.note(func() { w.walks++ })
		}
	}
}

// lists looks at the repository itself: nothing but the model may ever be there.
func (w *pollers) lists() {
	var since time.Time
	for !w.stop.Load() {
		entries, err := os.ReadDir(w.p.repo)
		if err != nil {
			w.wrongly("list: %v", err)
			return
		}
		for _, e := range entries {
			if e.Name() != "m" {
				w.wrongly("the repository shows %q", e.Name())
			}
		}
		switch {
		case len(entries) == 0 && since.IsZero():
			since = time.Now()
		case len(entries) > 0 && !since.IsZero():
			gap := time.Since(since)
			since = time.Time{}
			w.note(func() { w.absence = max(w.absence, gap) })
		}
	}
}

// Must show 3: whoever looks sees one whole tree or the other, and nothing else in the repository.
func TestPollers(t *testing.T) {
	placements := 30
	if os.Getenv("CLARA_PUSH_FULL") != "" {
		placements = 500
	}
	one, two := tree{}, tree{}
	for _, f := range []string{"config.pbtxt", "1/model.graphdef", "1/sub/a", "1/sub/b", "2/model.graphdef", "labels"} {
		one[f], two[f] = "one", "two"
	}
	bothWays(t, func(t *testing.T, exchange bool) {
		p := newPlacer(t)
		p.pushed("m", one, manifest.Options{Keep: 1})
		w := &pollers{p: p}
		w.wg.Go(func() { w.byHandle(len(one)) })
		w.wg.Go(func() { w.byPath(len(one)) })
		w.wg.Go(w.lists)
		newer := p.newestOf("m")
		for n := range placements {
			p.pushed("m", []tree{two, one}[n%2], manifest.Options{Keep: 1})
			if now := p.newestOf("m"); !now.After(newer) {
				t.Errorf("placement %d has the time %v, the one before had %v", n, now, newer)
			} else {
				newer = now
			}
		}
		w.stop.Store(true)
		w.wg.Wait()
		t.Logf("%d placements: %d whole walks, %d straddled an exchange, %d took too long, longest absence %v",
			placements, w.walks, w.straddles, w.outlived, w.absence)
		for _, wrong := range w.wrong[:min(len(w.wrong), 10)] {
			t.Error(wrong)
		}
		if exchange && w.absence > 0 {
			t.Errorf("the model was absent for %v", w.absence)
		}
		if w.walks < placements {
			t.Errorf("only %d walks", w.walks)
		}
	})
}
