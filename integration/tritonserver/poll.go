//go:build linux

package tritonserver

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errStraddled is of a look during which somebody exchanged what was looked at. A server takes what it saw, or fails and
// looks again at the next poll; either way it is not wrong for long, so it is counted, and no complaint.
var errStraddled = errors.New("the model was exchanged meanwhile")

// poll looks at the whole repository once and loads what is new or newer.
func (s *Server) poll() {
	s.orders.Lock()
	defer s.orders.Unlock()
	dirs, err := subdirs(s.repo)
	s.mu.Lock()
	s.polls++
	if err != nil {
		s.complain("failed to poll model repository: %v", err)
		if !s.v1() { // that repository then contributes no models
			s.unloadBut(nil)
		}
		s.mu.Unlock()
		return
	}
	s.unloadBut(dirs)
	s.mu.Unlock()
	for _, name := range dirs {
		l, err := s.see(name)
		if errors.Is(err, errStraddled) {
			continue
		}
		if err != nil {
			s.mu.Lock()
			s.complain("Poll failed for model directory '%s': %v", name, err)
			s.mu.Unlock()
			if s.strict() {
				return // and nothing else of this poll counts
			}
			continue
		}
		s.take(name, l)
	}
}

// unloadBut unloads models whose directories are gone. The caller holds mu.
func (s *Server) unloadBut(dirs []string) {
	for name, m := range s.models {
		if !slices.Contains(dirs, name) && len(m.versions) > 0 {
			if !m.stamp.IsZero() {
				s.absences++
			}
			m.unload()
			m.stamp = time.Time{}
		}
	}
}

// see looks at one model directory.
func (s *Server) see(name string) (*look, error) {
	l := lookAt(filepath.Join(s.repo, name), s.ctime())
	if l.straddled() {
		s.mu.Lock()
		s.straddles++
		s.mu.Unlock()
		return l, errStraddled
	}
	return l, l.err
}

// take loads a model that is new or newer than when it was last looked at.
func (s *Server) take(name string, l *look) {
	s.mu.Lock()
	m := s.models[name]
	fresh := m == nil || m.stamp.IsZero()
	newer := !fresh && l.newest.After(m.stamp)
	s.mu.Unlock()
	if fresh || newer {
		_ = s.load(name, l) // what came of it is in the model's states
	}
}

// load loads a model as it was seen. The error is what a server would answer to an order.
func (s *Server) load(name string, l *look) error {
	s.mu.Lock()
	m := s.models[name]
	if m == nil {
		m = &model{versions: map[int64]*state{}}
		s.models[name] = m
	}
	m.loads++
	m.stamp, m.config = l.newest, l.config
	for _, v := range l.served() {
		if m.versions[v] == nil || m.versions[v].State != "READY" { // what serves, serves on
			m.versions[v] = &state{State: "LOADING"}
		}
	}
	fault := s.faults[name]
	s.mu.Unlock()
	if !s.pause(name) {
		return errors.New("the server is ending")
	}
	return s.loaded(name, m, l, fault)
}

// pause is the time that loading takes; false when the server ends in it.
func (s *Server) pause(name string) bool {
	s.mu.Lock()
	stalled := s.stalled[name]
	s.mu.Unlock()
	end := time.After(s.options.Loading)
	if stalled {
		end = nil
	}
	select {
	case <-end:
		return true
	case <-s.stop:
		return false
	}
}

// loaded notes what came of a load.
func (s *Server) loaded(name string, m *model, l *look, fault string) error {
	errs := map[int64]error{}
	for _, v := range l.served() {
		err := l.load(v)
		if err == nil && fault != "" {
			err = errors.New(fault)
		}
		errs[v] = err
	}
	var odd error
	if s.options.Check != nil {
		odd = s.options.Check(l.dir)
	}
	straddled := l.straddled()
	s.mu.Lock()
	defer s.mu.Unlock()
	if straddled {
		s.straddles++
		m.stamp = time.Time{} // looked at again at the next poll
		odd = nil
	}
	if odd != nil {
		s.complain("model '%s': %v", name, odd)
	}
	return m.settle(name, errs, func(err error) {
		if !straddled && (fault == "" || err.Error() != fault) {
			s.complain("failed to load '%s': %v", name, err)
		}
	})
}

// settle gives each version its state, and unloads those that are no longer served.
func (m *model) settle(name string, errs map[int64]error, failed func(error)) error {
	var texts []string
	for _, v := range slices.Sorted(maps.Keys(errs)) {
		st := m.versions[v]
		if errs[v] == nil {
			*st = state{State: "READY"}
			continue
		}
		failed(errs[v])
		texts = append(texts, "version "+strconv.FormatInt(v, 10)+": "+errs[v].Error())
		if st.State != "READY" {
			*st = state{State: "UNAVAILABLE", Reason: errs[v].Error()}
		}
	}
	m.failed = len(texts) > 0
	if m.failed {
		return errors.New("failed to load '" + name + "', " + strings.Join(texts, "; "))
	}
	for v, st := range m.versions {
		if _, served := errs[v]; !served {
			*st = state{State: "UNAVAILABLE", Reason: "unloaded"}
		}
	}
	return nil
}

func (m *model) unload() {
	for _, st := range m.versions {
		*st = state{State: "UNAVAILABLE", Reason: "unloaded"}
	}
}

func (m *model) sorted() []int64 { return slices.Sorted(maps.Keys(m.versions)) }

// errNotExplicit is what every server says that is not in mode explicit.
var errNotExplicit = errors.New("explicit model load / unload is not allowed if polling is enabled")

// order is a load or unload by name.
func (s *Server) order(what, name string) error {
	if s.options.Mode != Explicit {
		return errNotExplicit
	}
	s.orders.Lock()
	defer s.orders.Unlock()
	if what == "unload" {
		s.mu.Lock()
		defer s.mu.Unlock()
		if m := s.models[name]; m != nil {
			m.unload()
			m.stamp = time.Time{}
		}
		return nil
	}
	if _, err := os.Stat(filepath.Join(s.repo, name)); err != nil {
		return errors.New("failed to load '" + name + "', failed to poll from model repository")
	}
	l, err := s.see(name)
	if err != nil {
		return err
	}
	if s.has(name, l) {
		return nil
	}
	return s.load(name, l)
}

// has tells that a model was loaded as it is seen now: then an order does nothing, as in the servers.
func (s *Server) has(name string, l *look) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.models[name]
	if m == nil || m.failed || m.stamp.IsZero() || l.newest.After(m.stamp) {
		return false
	}
	for _, v := range l.served() {
		if m.versions[v] == nil || m.versions[v].State != "READY" {
			return false
		}
	}
	return true
}

func (s *Server) v1() bool { return strings.HasPrefix(s.options.Version, "1.") }

// strict servers drop a whole poll for one bad model: up to 19.09.
func (s *Server) strict() bool { return s.v1() && s.minor() < 7 }

// ctime is looked at since 22.12, which is 2.29.
func (s *Server) ctime() bool { return !s.v1() && s.minor() >= 29 }

func (s *Server) minor() int {
	parts := strings.Split(s.options.Version, ".")
	n, _ := strconv.Atoi(parts[1])
	return n
}
