//go:build linux

package tritonserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// handler serves the protocol of the version.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	if s.v1() {
		mux.HandleFunc("GET /api/health/{what}", func(http.ResponseWriter, *http.Request) {})
		mux.HandleFunc("GET /api/status", s.v1Status)
		mux.HandleFunc("GET /api/status/{model}", s.v1Status)
		mux.HandleFunc("POST /api/modelcontrol/{what}/{model}", s.v1Control)
		return mux
	}
	mux.HandleFunc("GET /v2", s.v2About)
	mux.HandleFunc("GET /v2/health/live", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v2/health/ready", s.v2Ready)
	mux.HandleFunc("GET /v2/models/{model}/ready", s.v2ModelReady)
	mux.HandleFunc("GET /v2/models/{model}/versions/{version}/ready", s.v2ModelReady)
	mux.HandleFunc("GET /v2/models/{model}", s.v2Model)
	mux.HandleFunc("POST /v2/repository/index", s.v2Index)
	mux.HandleFunc("POST /v2/repository/models/{model}/{what}", s.v2Control)
	return mux
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, code int, text string) {
	reply(w, code, map[string]string{"error": text})
}

func (s *Server) v2About(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"name": "triton", "version": s.options.Version,
		"extensions": []string{"classification", "sequence", "model_repository", "schedule_policy", "model_configuration", "statistics"},
	})
}

// v2Ready is strict readiness: false when any model is bad.
func (s *Server) v2Ready(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.models {
		for _, st := range m.versions {
			if st.State != "READY" && st.Reason != "unloaded" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
		}
	}
}

func (s *Server) v2ModelReady(w http.ResponseWriter, r *http.Request) {
	ready := s.Ready(r.PathValue("model"))
	v := r.PathValue("version")
	n, err := strconv.ParseInt(v, 10, 64)
	if len(ready) == 0 || v != "" && (err != nil || !slices.Contains(ready, n)) {
		fail(w, http.StatusBadRequest, "Model version not ready")
	}
}

func (s *Server) v2Model(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("model")
	ready := s.Ready(name)
	if len(ready) == 0 {
		fail(w, http.StatusBadRequest, fmt.Sprintf("Request for unknown model: '%s' is not found", name))
		return
	}
	versions := []string{}
	for _, v := range ready {
		versions = append(versions, strconv.FormatInt(v, 10))
	}
	reply(w, http.StatusOK, map[string]any{"name": name, "versions": versions})
}

// indexEntry is one of the list of models; a directory that was never loaded has a name only.
type indexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	State   string `json:"state,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// v2Index lists the directories that are there now, and what is known of them.
func (s *Server) v2Index(w http.ResponseWriter, _ *http.Request) {
	dirs, err := subdirs(s.repo)
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	index := []indexEntry{}
	for _, name := range dirs {
		m := s.models[name]
		if m == nil {
			index = append(index, indexEntry{Name: name})
			continue
		}
		for _, v := range m.sorted() {
			index = append(index, indexEntry{name, strconv.FormatInt(v, 10), m.versions[v].State, m.versions[v].Reason})
		}
	}
	reply(w, http.StatusOK, index)
}

func (s *Server) v2Control(w http.ResponseWriter, r *http.Request) {
	err := s.order(r.PathValue("what"), r.PathValue("model"))
	switch {
	case err == nil:
	case errors.Is(err, errNotExplicit):
		fail(w, http.StatusServiceUnavailable, err.Error())
	default:
		fail(w, http.StatusInternalServerError, err.Error())
	}
}

// v1Status answers in protobuf text.
func (s *Server) v1Status(w http.ResponseWriter, r *http.Request) {
	only := r.PathValue("model")
	s.mu.Lock()
	defer s.mu.Unlock()
	names := slices.Sorted(maps.Keys(s.models))
	if only != "" {
		names = []string{only}
		if s.models[only] == nil {
			s.v1Outcome(w, "INVALID_ARG", fmt.Sprintf("no status available for unknown model '%s'", only))
			return
		}
	}
	s.v1Outcome(w, "SUCCESS", "")
	fmt.Fprintf(w, "id: \"inference:0\"\nversion: %q\nuptime_ns: 23322988571\n", s.options.Version)
	for _, name := range names {
		s.models[name].print(w, name, s.minor() >= 9)
	}
	fmt.Fprint(w, "ready_state: SERVER_READY\n")
}

// print prints a model's status. Reasons came with a later server.
func (m *model) print(w http.ResponseWriter, name string, reasons bool) {
	fmt.Fprintf(w, "model_status {\n  key: %q\n  value {\n    config {\n      name: %q\n      platform: %q\n", name, name, m.config.platform)
	fmt.Fprint(w, "      version_policy {\n        latest {\n          num_versions: 1\n        }\n      }\n      dims: -1\n    }\n")
	for _, v := range m.sorted() {
		st := m.versions[v]
		fmt.Fprintf(w, "    version_status {\n      key: %d\n      value {\n        ready_state: MODEL_%s\n", v, st.State)
		if reasons {
			fmt.Fprint(w, "        ready_state_reason {\n")
			if st.Reason != "" {
				fmt.Fprintf(w, "          message: %q\n", st.Reason)
			}
			fmt.Fprint(w, "        }\n")
		}
		fmt.Fprint(w, "      }\n    }\n")
	}
	fmt.Fprint(w, "  }\n}\n")
}

func (s *Server) v1Control(w http.ResponseWriter, r *http.Request) {
	err := s.order(r.PathValue("what"), r.PathValue("model"))
	switch {
	case err == nil:
		s.v1Outcome(w, "SUCCESS", "")
	case errors.Is(err, errNotExplicit):
		s.v1Outcome(w, "UNAVAILABLE", err.Error())
	default:
		s.v1Outcome(w, "INTERNAL", err.Error())
	}
}

// v1Outcome writes the header that every answer of the V1 protocol bears.
func (s *Server) v1Outcome(w http.ResponseWriter, code, msg string) {
	text := "code: " + code
	if msg != "" {
		text += " msg: " + strconv.Quote(msg)
	}
	w.Header().Set("NV-Status", strings.TrimSpace(text)+` server_id: "inference:0" request_id: 1`)
	switch code {
	case "SUCCESS":
		w.WriteHeader(http.StatusOK)
	case "INTERNAL":
		w.WriteHeader(http.StatusInternalServerError)
	case "UNAVAILABLE":
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
}
