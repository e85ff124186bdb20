//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer"
)

// loadOrder, when set in the environment, makes this test binary load a shelf into this machine, or take what was loaded back or
// away, and end, so that it can be killed. It is a loading as JSON.
const loadOrder = "CLARA_PUSH_LAB_LOAD"

// A loading says what is loaded where.
type loading struct {
	Shelf               string // folder
	Engine, State, Repo string
	Act                 manifest.Act       // rollback or removal; else it is a load
	What                manifest.Selection // of a removal
}

func (l loading) open(ctx context.Context) (*transfer.Local, error) {
	return transfer.OpenLocal(ctx, transfer.LocalOptions{StateDir: l.State, EngineHost: l.Engine, Repository: l.Repo, Version: "test"})
}

// obey carries a loading out.
func obey(order string) error {
	var l loading
	if err := json.Unmarshal([]byte(order), &l); err != nil {
		return err
	}
	ctx := context.Background()
	target, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer target.Close()
	switch l.Act {
	case manifest.ActRollback:
		_, err = target.Rollback(ctx, l.What)
		return err
	case manifest.ActRemove:
		_, err = target.Remove(ctx, l.What)
		return err
	}
	s, err := readShelf(l.Shelf)
	if err != nil {
		return err
	}
	_, err = transfer.Push(ctx, s, target, transfer.Options{Plan: manifest.Options{Keep: 1}})
	return err
}

// write puts a shelf into a folder.
func (s *shelf) write(dir string) error {
	raw, err := json.Marshal(s.artifacts)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "artifacts.json"), raw, 0o600)
	}
	for d, raw := range s.blobs {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, d.Encoded()), raw, 0o600)
		}
	}
	return err
}

func readShelf(dir string) (*shelf, error) {
	s := &shelf{blobs: map[manifest.Digest][]byte{}}
	raw, err := os.ReadFile(filepath.Join(dir, "artifacts.json"))
	if err == nil {
		err = json.Unmarshal(raw, &s.artifacts)
	}
	if err != nil {
		return nil, err
	}
	blobs, err := os.ReadDir(dir)
	for _, b := range blobs {
		if len(b.Name()) == 64 && err == nil {
			s.blobs[manifest.Digest("sha256:"+b.Name())], err = os.ReadFile(filepath.Join(dir, b.Name()))
		}
	}
	return s, err
}

// Whenever a load of two images and a model is killed, each of them is wholly old or wholly new, in this order; the next start
// says that it completes what was begun, if it was; and running the load again finishes it. CLARA_PUSH_SEED chooses other
// moments.
func TestLoadKilledAnywhere(t *testing.T) {
	rounds := 6
	if full() {
		rounds = 50
	}
	for _, kind := range []lab.Kind{lab.Docker2010, lab.ModernContainerd} {
		t.Run(string(kind), func(t *testing.T) {
			c := newKilling(t, kind)
			r := rand.New(rand.NewPCG(campaignSeed(t), uint64(rounds)))
			for n := range rounds {
				when, at := "start", time.Duration(1.05*r.Float64()*float64(c.took))
				if n%2 == 1 { // most of what can go wrong goes wrong within some hundredths of a second
					when, at = "journal", time.Duration(0.1*r.Float64()*float64(time.Second))
				}
				t.Run(fmt.Sprintf("%d %v after the %s", n, at.Round(time.Millisecond), when), func(t *testing.T) {
					c.t, c.place.t = t, t
					c.strike(when, at)
				})
			}
			t.Logf("an undisturbed load takes %v; killed with %v, completed by the next start %d times", c.took.Round(time.Millisecond), c.seen, c.completed)
		})
	}
}

// killing is a campaign of kills against loads of a release over another one.
type killing struct {
	*place
	t         *testing.T
	shelves   [2]*shelf
	folders   [2]string
	where     loading // but for the shelf
	took      time.Duration
	seen      map[string]int
	completed int
}

func newKilling(t *testing.T, kind lab.Kind) *killing {
	p := newPlace(t, kind, "local")
	c := &killing{place: p, t: t, seen: map[string]int{}}
	c.where = loading{Engine: p.engine.Host(), State: t.TempDir(), Repo: p.repo}
	p.open = func() (transfer.Target, error) { return c.where.open(t.Context()) }
	base := p.tarOf(t, 1<<20)
	for n := range c.shelves {
		one, two := makeImage(t, "one:1", "gzip", true, base, p.tarOf(t, 3<<20)), makeImage(t, "two:1", "gzip", true, base, p.tarOf(t, 3<<20))
		files := map[string]string{"config.pbtxt": fmt.Sprint("state ", n), "1/w": strings.Repeat(fmt.Sprint("weights ", n), 1<<20), "2/same": "same"}
		c.shelves[n], c.folders[n] = newShelf(one, two).add("seg", files), t.TempDir()
		must(t, c.shelves[n].write(c.folders[n]))
	}
	c.load(0, "", 0)
	c.took = c.load(1, "", 0)
	_, err := p.back(manifest.Selection{})
	must(t, err)
	return c
}

// load loads a release in a process of its own, and kills that at a moment if one is given: so long after its start or after
// it wrote its journal. It returns how long it took.
func (c *killing) load(release int, when string, after time.Duration) time.Duration {
	c.t.Helper()
	l := c.where
	l.Shelf = c.folders[release]
	order, err := json.Marshal(l)
	must(c.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), loadOrder+"="+string(order))
	began := time.Now()
	must(c.t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if when == "journal" {
		c.awaitJournal(ended)
	}
	if when != "" {
		killer := time.AfterFunc(after, func() { cmd.Process.Kill() })
		defer killer.Stop()
	}
	if err := <-ended; err != nil && when == "" {
		c.t.Fatal(err)
	}
	return time.Since(began)
}

// awaitJournal waits for a journal, or for the end of the process that is to write it.
func (c *killing) awaitJournal(ended chan error) {
	for {
		if all, _ := filepath.Glob(filepath.Join(c.where.State, "journal", "*.json")); len(all) > 0 {
			return
		}
		select {
		case err := <-ended:
			ended <- err
			return
		case <-time.After(200 * time.Microsecond):
		}
	}
}

// awaitNames waits until the engine has carried out what a killed process asked it to: a containerd store takes a name away
// before it gives it anew, and goes on when whoever asked is gone.
func (c *killing) awaitNames() {
	for _, ref := range []string{"one:1", "two:1"} {
		for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			id, err := c.api.ID(c.t.Context(), ref)
			must(c.t, err)
			if id != "" {
				break
			}
			if time.Since(began) > 10*time.Second {
				c.t.Fatalf("%s names nothing any more", ref)
			}
		}
	}
}

func (c *killing) strike(when string, after time.Duration) {
	c.t.Helper()
	docker(c.t, c.engine, "image", "prune", "-f") // else the images would only be named
	c.load(1, when, after)
	c.awaitNames()
	died := c.bearing(c.shelves[0], c.shelves[1])
	c.seen[died]++
	if died != "000" && died != "100" && died != "110" && died != "111" {
		c.t.Errorf("it died with %s", died)
	}
	s := c.status()
	now := c.bearing(c.shelves[0], c.shelves[1])
	if said := strings.Contains(strings.Join(s.Warnings, " "), "completed by the next start"); said {
		c.completed++
		if now != "111" {
			c.t.Errorf("it says that it completed what was begun, and they are %s", now)
		}
	} else if now != died || now != "000" && now != "111" {
		c.t.Errorf("it says nothing, and they are %s; they were %s", now, died)
	}
	c.load(1, "", 0)
	if got := c.bearing(c.shelves[0], c.shelves[1]); got != "111" {
		c.t.Errorf("after the next load they are %s", got)
	}
	c.drifts(",,")
	r, err := c.back(manifest.Selection{})
	must(c.t, err)
	if got := c.bearing(c.shelves[0], c.shelves[1]); got != "000" || len(r.Images) != 2 || len(r.Models) != 1 {
		c.t.Errorf("after a rollback they are %s; receipt %+v", got, r)
	}
}
