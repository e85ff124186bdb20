//go:build linux

package tritonserver

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Mode says how a server comes to its models (--model-control-mode).
type Mode string

// The modes.
const (
	None     Mode = "none"     // all that are there when it starts, and no more
	Poll     Mode = "poll"     // looks for changes every so often
	Explicit Mode = "explicit" // as it is told
)

// Options say which server to be. The zero value is Triton 2.29.0 in mode none, as it comes.
type Options struct {
	Version string        // of the server: 1.x speaks V1, 2.x V2; default 2.29.0, the first to look at ctime
	Mode    Mode          // default None
	Every   time.Duration // between two polls; default a second. Triton's own is 15 s
	Loading time.Duration // how long a model takes to load
	// Check looks at a model directory that is being loaded, beyond what the server does. What it returns is a complaint.
	Check func(dir string) error
}

// A Server is a running stand-in.
type Server struct {
	URL string

	options Options
	repo    string
	http    *http.Server
	stop    chan struct{}
	stopped sync.WaitGroup

	orders sync.Mutex // polls and orders come one after the other

	mu         sync.Mutex
	models     map[string]*model
	complaints []string
	straddles  int
	polls      int
	absences   int
	faults     map[string]string // why a model fails to load
	stalled    map[string]bool   // models that never finish loading
}

// model is what the server knows of one model.
type model struct {
	stamp    time.Time // newest time when it was last looked at
	loads    int
	failed   bool // the last load
	config   config
	versions map[int64]*state
}

type state struct {
	State, Reason string
}

// Start serves the repository repo on a loopback port.
func Start(repo string, o Options) (*Server, error) {
	if o.Version == "" {
		o.Version = "2.29.0"
	}
	if o.Mode == "" {
		o.Mode = None
	}
	if o.Every == 0 {
		o.Every = time.Second
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{
		URL: "http://" + ln.Addr().String(), options: o, repo: repo, stop: make(chan struct{}),
		models: map[string]*model{}, faults: map[string]string{}, stalled: map[string]bool{},
	}
	if o.Mode != Explicit {
		s.poll()
	}
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	s.stopped.Go(func() { _ = s.http.Serve(ln) })
	if o.Mode == Poll {
		s.stopped.Go(s.pollForever)
	}
	return s, nil
}

// Close ends the server. It may be called twice.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.mu.Unlock()
	s.http.Close()
	s.stopped.Wait()
}

func (s *Server) pollForever() {
	for {
		select {
		case <-s.stop:
			return
		case <-time.After(s.options.Every):
			s.poll()
		}
	}
}

// Complaints are what a real server would have refused, unloaded or misread so far.
func (s *Server) Complaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.complaints...)
}

// Polls counts the looks at the repository, and Straddles those during which a model was exchanged.
func (s *Server) Polls() (polls, straddles int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polls, s.straddles
}

// Absences counts how often a model that was loaded had disappeared when the server looked.
func (s *Server) Absences() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.absences
}

// Loads counts how often a model was loaded or tried to be.
func (s *Server) Loads(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.models[name]; m != nil {
		return m.loads
	}
	return 0
}

// Ready lists the versions of a model that are ready.
func (s *Server) Ready(name string) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ready []int64
	if m := s.models[name]; m != nil {
		for _, v := range m.sorted() {
			if m.versions[v].State == "READY" {
				ready = append(ready, v)
			}
		}
	}
	return ready
}

// FailLoad makes each load of a model fail for reason from now on; an empty reason ends that.
func (s *Server) FailLoad(name, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[name] = reason
}

// Stall keeps a model in loading from now on.
func (s *Server) Stall(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled[name] = true
}

// complain notes each complaint once. The caller holds mu.
func (s *Server) complain(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, c := range s.complaints {
		if c == text {
			return
		}
	}
	s.complaints = append(s.complaints, text)
}
