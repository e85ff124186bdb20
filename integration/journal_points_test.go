//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/pkg/loader"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// A rollback or a removal that is killed at any of the requests by which it changes names, right before or right after the
// engine has obeyed, is completed by the next start, and then all is as after one that nobody disturbed.
func TestChangesKilledAtEachRequest(t *testing.T) {
	for _, kind := range []lab.Kind{lab.Docker2010, lab.ModernContainerd} {
		for _, act := range []manifest.Act{manifest.ActRollback, manifest.ActRemove} {
			t.Run(fmt.Sprintf("%s %s", kind, act), func(t *testing.T) {
				n := 0
				t.Run("undisturbed", func(t *testing.T) { n = newChange(t, kind, act).run(-1, false) })
				if n < 2 {
					t.Fatalf("it changed names by %d requests only", n)
				}
				for at := range n {
					for _, obeyed := range []bool{false, true} {
						t.Run(fmt.Sprintf("request %d obeyed %v", at, obeyed), func(t *testing.T) { newChange(t, kind, act).run(at, obeyed) })
					}
				}
			})
		}
	}
}

// A nameChange takes the second of two releases back, or both away, in a process of its own.
type nameChange struct {
	*place
	act      manifest.Act
	releases [3]*shelf
	state    string
}

func newChange(t *testing.T, kind lab.Kind, act manifest.Act) *nameChange {
	p := newPlace(t, kind, "local")
	c := &nameChange{place: p, act: act, releases: p.releases(), state: filepath.Join(filepath.Dir(p.repo), "state")}
	for _, s := range c.releases[:2] {
		p.pushed(s, manifest.Options{Keep: 1})
	}
	if act == manifest.ActRemove {
		docker(t, p.engine, "create", "--name", "user", "two:1")
	}
	return c
}

// run kills the process at a request, if that is not negative, and checks what the next start makes of it. It returns how many
// requests there were that changed names.
func (c *nameChange) run(at int, obeyed bool) (requests int) {
	c.t.Helper()
	victim := make(chan *os.Process, 1)
	var tapped *tap
	tapped = newTap(c.t, c.engine, func(_ http.ResponseWriter, r *http.Request) bool {
		if !c.changesNames(r) {
			return false
		}
		if requests++; requests-1 != at {
			return false
		}
		if obeyed {
			tapped.engine.ServeHTTP(httptest.NewRecorder(), r)
		}
		p := <-victim
		_ = p.Kill()
		<-r.Context().Done()
		return true
	})
	c.start(tapped.Host(), victim, at >= 0)
	if c.act == manifest.ActRollback {
		if died := c.bearing(c.releases[0], c.releases[1]); strings.Contains(died, "?") {
			c.t.Errorf("it died with %s", died)
		}
	}
	s := c.status()
	if said := strings.Contains(strings.Join(s.Warnings, " "), "completed by the next start"); said != (at >= 0) {
		c.t.Errorf("the next start says %q", s.Warnings)
	}
	c.done(at >= 0)
	return requests
}

// changesNames reports whether a request gives or takes a name, after the journal was written.
func (c *nameChange) changesNames(r *http.Request) bool {
	journals, _ := filepath.Glob(filepath.Join(c.state, "journal", "*.json"))
	names := r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/tag") || r.Method == "DELETE" && strings.Contains(r.URL.Path, "/images/")
	return names && len(journals) > 0
}

func (c *nameChange) start(engine string, victim chan<- *os.Process, killed bool) {
	c.t.Helper()
	l := loading{Engine: engine, State: c.state, Repo: c.repo, Act: c.act}
	if c.act == manifest.ActRemove {
		l.What = manifest.Selection{Images: []string{"one:1", "two:1"}, Models: []string{"seg"}}
	}
	order, err := json.Marshal(l)
	must(c.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), loadOrder+"="+string(order))
	cmd.Stderr = os.Stderr
	must(c.t, cmd.Start())
	victim <- cmd.Process
	if err := cmd.Wait(); (err != nil) != killed {
		c.t.Fatalf("it ended with %v", err)
	}
}

// done checks that everything is as the change makes it.
func (c *nameChange) done(completed bool) {
	c.t.Helper()
	refs, err := c.api.Refs(c.t.Context())
	must(c.t, err)
	var names []string
	for r := range refs {
		names = append(names, r)
	}
	slices.Sort(names)
	models, err := os.ReadDir(c.repo)
	must(c.t, err)
	h, err := loader.Open(c.t.Context(), loader.Options{EngineHost: c.engine.Host(), StateDir: c.state, Repository: c.repo})
	must(c.t, err)
	defer h.Close()
	r, err := h.LastReceipt()
	must(c.t, err)
	if r.Act != c.act || r.Completed != completed || len(r.Images) != 2 || len(r.Models) != 1 || strings.Contains(strings.Join(r.Warnings, " "), "could not") {
		c.t.Fatalf("receipt %+v", r)
	}
	switch {
	case c.act == manifest.ActRemove: // a container uses the second image
		if keeper := r.Images[1].Keeper; keeper == "" || strings.Join(names, " ") != keeper || len(models) > 0 {
			c.t.Errorf("there are %v and %v; receipt %+v", names, models, r)
		}
	case strings.Join(names, " ") != "one:1 two:1":
		c.t.Errorf("there are the names %v", names)
	default:
		if got := c.bearing(c.releases[0], c.releases[1]); got != "000" {
			c.t.Errorf("they are %s", got)
		}
	}
}
