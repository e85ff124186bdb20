package triton

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Severity says what a finding means for a push.
type Severity string

// The severities.
const (
	Refuse Severity = "refuse" // Triton would not serve the model, or not the one that is meant
	Warn   Severity = "warn"   // Triton may serve it, but not as somebody may expect
)

// Finding is one thing that is wrong with a model. Text and Advice are for people and may quote names from the model: make
// them plain before printing.
type Finding struct {
	Severity Severity `json:"severity"`
	// File is the file or directory, to be opened as it stands: below the directory as it was given to Check.
	File string `json:"file"`
	// Line and Col count from 1, Col in characters; both are 0 when the finding is about the file as a whole.
	Line int  `json:"line,omitempty"`
	Col  int  `json:"col,omitempty"`
	Rule Rule `json:"rule"`
	// Text says what is wrong, Advice what to do.
	Text   string `json:"text"`
	Advice string `json:"advice"`
}

// Place reads "FILE:LINE:COL", or "FILE" for a finding about the file as a whole.
func (f Finding) Place() string {
	if f.Line == 0 {
		return f.File
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Col)
}

// String reads "FILE:LINE:COL: refuse: text".
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s: %s", f.Place(), f.Severity, f.Text)
}

// Report is what Check found out about one model.
type Report struct {
	Model string `json:"model"` // the name of the model
	Dir   string `json:"dir"`   // as it was given
	// Findings are sorted by file, line and column.
	Findings []Finding `json:"findings,omitempty"`
	// Config is what the model says of itself; nil when that cannot be read.
	Config *Config `json:"config,omitempty"`
}

// Count returns how many findings have severity s.
func (r Report) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Err returns a manifest.KindModel failure when the model is refused, nil otherwise; strict makes warnings refuse.
func (r Report) Err(strict bool) error {
	n := r.Count(Refuse)
	if strict {
		n = len(r.Findings)
	}
	if n == 0 {
		return nil
	}
	first := r.Findings[0]
	if i := slices.IndexFunc(r.Findings, func(f Finding) bool { return strict || f.Severity == Refuse }); i >= 0 {
		first = r.Findings[i]
	}
	more := ""
	if n > 1 {
		more = fmt.Sprintf(" (and %d more)", n-1)
	}
	return manifest.Fail(manifest.KindModel, "check model "+r.Model, "%s: %s%s", first.Place(), first.Text, more).Advise("%s", first.Advice)
}

func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
}
