package main

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// The objects that --json prints. They are an interface described in docs/json.md: fields are added, never changed.

type stepLine struct {
	Event string        `json:"event"` // "step" or "warning"
	Time  string        `json:"time"`
	Step  manifest.Step `json:"step,omitempty"`
	Ref   string        `json:"ref,omitempty"`
	Text  string        `json:"text,omitempty"`
}

type progressLine struct {
	Event string        `json:"event"` // "progress"
	Time  string        `json:"time"`
	Step  manifest.Step `json:"step"`
	Done  int64         `json:"done"`
	Total int64         `json:"total"`
	Wire  int64         `json:"wire"`
}

// summary is the last object. A command fills in what it knows as it goes on, so that a failure tells how far it came.
type summary struct {
	Event    string   `json:"event"` // "summary"
	Time     string   `json:"time"`
	Command  string   `json:"command"`
	Host     string   `json:"host,omitempty"`
	OK       bool     `json:"ok"`
	ExitCode int      `json:"exitCode"`
	Kind     string   `json:"kind,omitempty"`
	Step     string   `json:"step,omitempty"`
	Error    string   `json:"error,omitempty"`
	Hint     string   `json:"hint,omitempty"`
	Warnings []string `json:"warnings,omitempty"`

	Repository string `json:"repository,omitempty"`

	From *manifest.Provenance `json:"from,omitempty"`

	DryRun   bool         `json:"dryRun,omitempty"`
	Seconds  float64      `json:"seconds,omitempty"`
	Bytes    *byteSums    `json:"bytes,omitempty"`
	Space    *spaceSums   `json:"space,omitempty"`
	Images   []imageSum   `json:"images,omitempty"`
	Models   []modelSum   `json:"models,omitempty"`
	Bundle   *bundleSum   `json:"bundle,omitempty"`
	Server   *serverSum   `json:"server,omitempty"`
	Receipt  *receiptSum  `json:"receipt,omitempty"`
	Target   *targetSum   `json:"target,omitempty"`
	Swept    *sweptSum    `json:"swept,omitempty"`
	Contents *inspected   `json:"contents,omitempty"`
	Verified *verifiedSum `json:"verified,omitempty"`

	Inventory string           `json:"inventory,omitempty"` // file that check wrote
	Status    *manifest.Status `json:"status,omitempty"`

	Version *versionSums `json:"version,omitempty"`
}

type byteSums struct {
	Wire    int64 `json:"wire"`    // sent over the connection in this run, everything included
	Send    int64 `json:"send"`    // of blobs, uncompressed: had to travel when the last plan was made
	Staged  int64 `json:"staged"`  // had travelled before
	Spared  int64 `json:"spared"`  // the host's engine had them
	Unknown int   `json:"unknown"` // blobs whose size was only estimated when the plan was made
}

type spaceSums struct {
	Stage  roomSum `json:"stage"`
	Engine roomSum `json:"engine,omitzero"`
	Models roomSum `json:"models,omitzero"` // beside the repository, of load
}

type roomSum struct {
	Need int64  `json:"need"`
	Free int64  `json:"free"`
	Path string `json:"path"`
}

type imageSum struct {
	Ref           string          `json:"ref"`
	Action        manifest.Action `json:"action"`
	Done          bool            `json:"done"`
	Origin        string          `json:"origin,omitempty"`
	Platform      string          `json:"platform,omitempty"`
	Config        manifest.Digest `json:"config,omitempty"`
	Manifest      manifest.Digest `json:"manifest,omitempty"`
	Layers        int             `json:"layers"`
	LayersPresent int             `json:"layersPresent"`
	Before        *manifest.State `json:"before,omitempty"`
	After         *manifest.State `json:"after,omitempty"`
	Keeper        string          `json:"keeper,omitempty"`
	Proof         []string        `json:"proof,omitempty"`
	StillRunning  []string        `json:"stillRunning,omitempty"`
	LeftBehind    []string        `json:"leftBehind,omitempty"`
}

type receiptSum struct {
	ID   string `json:"id"`
	Path string `json:"path,omitempty"`
}

type targetSum struct {
	Agent  string          `json:"agent"`
	Name   string          `json:"name"`
	User   string          `json:"user"`
	Clock  string          `json:"clock"`
	Engine manifest.Engine `json:"engine"`
	Stage  manifest.Space  `json:"stage"`
	Data   manifest.Space  `json:"data"`

	Repository *repositorySum `json:"repository,omitempty"`
}

type sweptSum struct {
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
	Held  int   `json:"held"`
}

type versionSums struct {
	Version  string   `json:"version"`
	Commit   string   `json:"commit,omitempty"`
	Protocol int      `json:"protocol"`
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	Agents   []string `json:"agents"`
}

// closed completes s with how the command ended.
func (s summary) closed(err error, code int) summary {
	s.Event, s.Time, s.OK, s.ExitCode = "summary", stamp(), code == 0, code
	if err == nil {
		return s
	}
	s.Kind, s.Error = string(manifest.KindOf(err)), manifest.Plain(err.Error())
	var f *manifest.Failure
	if errors.As(err, &f) {
		s.Step, s.Hint = manifest.Plain(f.Step), manifest.Plain(f.Hint)
	}
	return s
}

// record prints v as one line on stdout.
func (r *report) record(v any) {
	if !r.json {
		return
	}
	e := json.NewEncoder(r.out)
	e.SetEscapeHTML(false)
	// An error must not stop a push; finish tells it.
	_ = e.Encode(v)
}

func stamp() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }
