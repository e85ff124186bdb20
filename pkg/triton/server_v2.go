package triton

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// v2 is the protocol of Triton 2: docs/protocol of the server, the extension model_repository above all.
type v2 struct{ *Server }

// speakV2 reports whether the server speaks it, and notes the server's version.
func (s *Server) speakV2(ctx context.Context) (bool, error) {
	a, err := s.ask(ctx, answerLimit, http.MethodGet, "/v2", "")
	if err != nil {
		return false, err
	}
	var about struct{ Name, Version string }
	if a.code != http.StatusOK || json.Unmarshal(a.body, &about) != nil || about.Name == "" {
		return false, nil //nolint:nilerr // it speaks something else
	}
	s.Version, s.api = manifest.Plain(about.Version), v2{s}
	return true, nil
}

func (p v2) states(ctx context.Context, model string) ([]VersionState, error) {
	a, err := p.ask(ctx, answerLimit, http.MethodPost, "/v2/repository/index", "{}")
	if err != nil {
		return nil, err
	}
	var index []struct{ Name, Version, State, Reason string }
	if a.code != http.StatusOK {
		return nil, fmt.Errorf("its list of models: %w", v2Reason(a))
	}
	if err := json.Unmarshal(a.body, &index); err != nil {
		return nil, fmt.Errorf("its list of models: %w", err)
	}
	var states []VersionState
	for _, e := range index {
		// A directory that was never loaded has an entry without version and state.
		if n, err := strconv.ParseInt(e.Version, 10, 64); err == nil && e.Name == model {
			states = append(states, VersionState{n, State(manifest.Plain(e.State)), shorten(manifest.Plain(e.Reason))})
		}
	}
	return states, nil
}

func (p v2) load(ctx context.Context, model string) error   { return p.control(ctx, model, "load") }
func (p v2) unload(ctx context.Context, model string) error { return p.control(ctx, model, "unload") }

func (p v2) control(ctx context.Context, model, what string) error {
	a, err := p.ask(ctx, anyTime, http.MethodPost, "/v2/repository/models/"+url.PathEscape(model)+"/"+what, "{}")
	if err != nil || a.code == http.StatusOK {
		return err
	}
	return v2Reason(a)
}

// anyTime leaves the limit to the context.
const anyTime = 365 * 24 * time.Hour

func (p v2) ready(ctx context.Context, model string, version int64) (bool, error) {
	path := fmt.Sprintf("/v2/models/%s/versions/%d/ready", url.PathEscape(model), version)
	a, err := p.ask(ctx, answerLimit, http.MethodGet, path, "")
	return a.code == http.StatusOK, err
}

// v2Reason reads {"error": "…"}.
func v2Reason(a answer) error {
	var e struct{ Error string }
	if json.Unmarshal(a.body, &e) != nil {
		e.Error = string(a.body)
	}
	return reasonOf(e.Error, a.code)
}
