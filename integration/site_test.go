//go:build linux

package integration

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
	"github.com/clara-push/clara-push/integration/link"
)

// lineRate is the rate of the line to a site, in bits per second: slow enough for a push to be caught at its half.
const lineRate = 160e6

// patience is how long a push may take to come to a point of interest.
func patience() time.Duration {
	if full() {
		return 5 * time.Minute
	}
	return time.Minute
}

// A site is a client, a line and a host of its own, where things may be broken. A name means an old image there, and
// pushes move it to a new one.
type site struct {
	*client
	line *link.Proxy

	ref      string
	old, new []string // diffIDs of the two images
	blobs    int64    // bytes of files in the new image's large layers
	whole    int64    // bytes on the wire of a push that nothing disturbs
	took     time.Duration
	head     time.Duration // of it, before the first chunk
	tail     time.Duration // of it, past the commit point
	papers   int           // receipts on the host when it was reset last
}

// newSite starts a host of kind to, builds the old and the new image on a source of kind from, pushes the old one, and
// once the new one to learn what that takes.
func newSite(t *testing.T, from, to lab.Kind, new lab.ImageSpec) *site {
	t.Helper()
	h := newHost(t, to, lab.HostOptions{})
	install(t, program(t), h)
	s := &site{client: newClient(t, source(t, from), h), ref: new.Name}
	s.Limit = 2 * patience()
	build(t, s.Engine, lab.ImageSpec{Name: s.ref, Message: "old", Base: lab.Layer{Size: 1 << 20, Seed: new.Base.Seed}})
	s.pushed(s.ref)
	s.old = diffIDs(t, h.Engine, s.ref)
	docker(t, h.Engine, "tag", s.ref, "former:1")
	new.Message = "new"
	build(t, s.Engine, new)
	s.new = diffIDs(t, s.Engine, s.ref)
	for _, l := range append(new.Layers, new.Base) {
		s.blobs += l.Size
	}
	s.pushed(s.ref) // fills the client's cache
	s.reset(t)
	s.relink(t, link.Options{Rate: lineRate})
	s.measure(t)
	s.means(t, "new")
	s.settled(t)
	s.reset(t)
	return s
}

// measure learns what a push takes that nothing disturbs.
func (s *site) measure(t *testing.T) {
	t.Helper()
	r := s.start("image", "--json", "-v", s.ref, "target")
	r.sent(256<<10, patience())
	s.head = time.Since(r.began)
	r.until(committed, patience())
	commit := time.Since(r.began)
	res := r.wait()
	res.exits(t, 0)
	s.whole, s.took, s.tail = res.Up, res.Took, res.Took-commit
	t.Logf("undisturbed: %s on the wire for %s; %.1f s before the first chunk, %.1f s to the commit point, %.1f s after",
		mb(s.whole), mb(s.blobs), s.head.Seconds(), (commit - s.head).Seconds(), s.tail.Seconds())
}

// relink replaces the line by a new one on another port.
func (s *site) relink(t *testing.T, o link.Options) {
	t.Helper()
	if s.line != nil {
		s.line.Close()
	}
	s.line = newLine(t, s.Host.Addr, o)
	s.proxy, s.Addr = s.line, s.line.Addr
}

// reset makes the name mean the old image again, and removes the new one and everything that pushes kept.
func (s *site) reset(t *testing.T) {
	t.Helper()
	e := s.Host.Engine
	for _, id := range strings.Fields(docker(t, e, "ps", "--all", "--quiet")) {
		docker(t, e, "rm", "--force", id)
	}
	docker(t, e, "tag", "former:1", s.ref)
	for _, ref := range strings.Fields(docker(t, e, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}")) {
		if strings.HasPrefix(ref, "clara-push-former/") {
			docker(t, e, "rmi", ref)
		}
	}
	docker(t, e, "image", "prune", "-f")
	s.papers = s.receipts()
	if err := os.RemoveAll(stage(s.Host)); err != nil {
		t.Fatal(err)
	}
}

// means checks that the name on the host means the old or the new image, and that this is whole and runs.
func (s *site) means(t *testing.T, version string) {
	t.Helper()
	want := s.old
	if version == "new" {
		want = s.new
	}
	if got := diffIDs(t, s.Host.Engine, s.ref); !slices.Equal(got, want) {
		t.Errorf("%s has layers %v\nwant %v of the %s image", s.ref, got, want, version)
	}
	runs(t, s.Host.Engine, s.ref, version)
}

// oneOf checks that the name means the old or the new image, wholly, and returns which. An agent may be moving it.
func (s *site) oneOf(t *testing.T) string {
	t.Helper()
	version := "old"
	switch got := diffIDs(t, s.Host.Engine, s.ref); {
	case slices.Equal(got, s.new):
		version = "new"
	case !slices.Equal(got, s.old):
		t.Errorf("%s has layers %v: neither the old image's nor the new one's", s.ref, got)
	}
	out, err := theLab(t).RunContainer(t.Context(), s.Host.Engine, s.ref)
	if err != nil || out != "hello from old" && out != "hello from new" {
		t.Errorf("a container of %s prints %q, %v", s.ref, out, err)
	}
	return version
}

// lastBreath is how long an agent may live on without its client: its patience, and some.
const lastBreath = 35 * time.Second

// forsaken waits until no agent runs on the host any more.
func (s *site) forsaken(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(lastBreath); len(s.agents()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d agents still run %v after their client", len(s.agents()), lastBreath)
		}
	}
}

// settled checks that nothing is left of pushes but the image and the receipts.
func (s *site) settled(t *testing.T) {
	t.Helper()
	s.forsaken(t)
	state := filepath.Join(s.Host.VarLib, "clara-push")
	if err := unlocked(filepath.Join(state, "lock")); err != nil {
		t.Errorf("the lock: %v", err)
	}
	if n := leftovers(t, s.Host); n != 0 {
		t.Errorf("%d blobs are left in the stage", n)
	}
	for _, pattern := range []string{filepath.Join(state, "run", "*"), filepath.Join(state, "*-*"), filepath.Join(state, "receipts", "tmp-*"),
		filepath.Join(s.cache(), "*", "tmp-*")} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	}
	if left := docker(t, s.Host.Engine, "ps", "--all", "--format", "{{.ID}} {{.Image}} {{.Command}}"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
	if left := docker(t, s.Host.Engine, "image", "ls", "--filter", "dangling=true", "--format", "{{.ID}} {{.Size}}"); left != "" {
		t.Errorf("images without a name are left: %s", left)
	}
}

// receipts counts the receipts on the host.
func (s *site) receipts() int {
	all, _ := filepath.Glob(filepath.Join(s.Host.VarLib, "clara-push", "receipts", "*.json"))
	return len(all)
}

// agents lists the processes of clara-push on the host, also those whose connection is gone.
func (s *site) agents() []int { return agentsOf(s.Host) }

func agentsOf(h *lab.Host) []int {
	var pids []int
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		words := strings.Split(string(line), "\x00")
		if len(words) != 3 || filepath.Base(words[0]) != "clara-push" || words[1] != "agent" {
			continue
		}
		// The host's folder of programs, which no other host has, is in the path of its sessions.
		if env, _ := os.ReadFile(filepath.Join(dir, "environ")); strings.Contains(string(env), "PATH="+h.Bin+":") {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}

// killAll ends processes at once.
func killAll(pids []int) {
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// unlocked returns an error while a process holds the lock.
func unlocked(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// docker runs the docker command line, which must succeed.
func docker(t testing.TB, e *lab.Engine, args ...string) string {
	t.Helper()
	out, err := e.Docker(context.Background(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// diffIDs lists the layers of an image as the engine tells them.
func diffIDs(t testing.TB, e *lab.Engine, ref string) []string {
	t.Helper()
	return strings.Fields(docker(t, e, "image", "inspect", "--format", `{{join .RootFS.Layers " "}}`, ref))
}

// newLine starts a line to an address; it ends with the test.
func newLine(t testing.TB, to string, o link.Options) *link.Proxy {
	t.Helper()
	p, err := link.Listen(context.Background(), to, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// mb formats bytes as megabytes.
func mb(n int64) string { return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB" }
