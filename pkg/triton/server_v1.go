package triton

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// v1 is the protocol of the TensorRT Inference Server, up to 20.07-v1: docs/http_grpc_api.rst of those releases.
type v1 struct{ *Server }

// speakV1 reports whether the server speaks it, and notes the server's version.
func (s *Server) speakV1(ctx context.Context) (bool, error) {
	a, err := s.ask(ctx, answerLimit, http.MethodGet, "/api/status", "")
	if err != nil || a.code != http.StatusOK || a.header.Get(statusHeader) == "" && !strings.Contains(string(a.body), "SERVER_") {
		return false, err
	}
	status, err := readText(string(a.body))
	if err != nil {
		return false, fmt.Errorf("its status: %w", err)
	}
	s.Version, s.api = manifest.Plain(status.get("version").value), v1{s}
	return true, nil
}

// statusHeader tells how a request went: code: SUCCESS, or another code and msg: "…".
const statusHeader = "NV-Status"

func (p v1) states(ctx context.Context, model string) ([]VersionState, error) {
	a, err := p.ask(ctx, answerLimit, http.MethodGet, "/api/status/"+url.PathEscape(model), "")
	if err != nil {
		return nil, err
	}
	if a.code != http.StatusOK {
		if code := outcome(a).get("code").value; code == "INVALID_ARG" || code == "NOT_FOUND" {
			return nil, nil // "no status available for unknown model"
		}
		return nil, fmt.Errorf("its status: %w", v1Reason(a))
	}
	status, err := readText(string(a.body))
	if err != nil {
		return nil, fmt.Errorf("its status: %w", err)
	}
	var states []VersionState
	for _, m := range status.all("model_status") {
		if m.get("key").value == model {
			states = append(states, versionsOf(m.get("value"))...)
		}
	}
	return states, nil
}

func versionsOf(model node) []VersionState {
	var states []VersionState
	for _, v := range model.all("version_status") {
		n, err := strconv.ParseInt(v.get("key").value, 10, 64)
		if err != nil {
			continue
		}
		states = append(states, VersionState{
			Version: n,
			State:   State(manifest.Plain(strings.TrimPrefix(v.get("value", "ready_state").value, "MODEL_"))),
			Reason:  shorten(manifest.Plain(v.get("value", "ready_state_reason", "message").value)),
		})
	}
	return states
}

func (p v1) load(ctx context.Context, model string) error   { return p.control(ctx, model, "load") }
func (p v1) unload(ctx context.Context, model string) error { return p.control(ctx, model, "unload") }

func (p v1) control(ctx context.Context, model, what string) error {
	a, err := p.ask(ctx, anyTime, http.MethodPost, "/api/modelcontrol/"+what+"/"+url.PathEscape(model), "")
	if err != nil || a.code == http.StatusOK {
		return err
	}
	return v1Reason(a)
}

// ready is told by the status alone in this protocol.
func (p v1) ready(ctx context.Context, model string, version int64) (bool, error) {
	states, err := p.states(ctx, model)
	return stateOf(states, version).State == StateReady, err
}

func outcome(a answer) node {
	n, _ := readText(a.header.Get(statusHeader))
	return n
}

func v1Reason(a answer) error {
	text := outcome(a).get("msg").value
	if text == "" {
		text = string(a.body)
	}
	return reasonOf(text, a.code)
}
