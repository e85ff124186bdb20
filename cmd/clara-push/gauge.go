package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// phase says what is done while bytes pass, and what once the last of them was handed over.
type phase struct{ doing, done string }

// phases are those of the steps that take long.
var phases = map[manifest.Step]phase{
	manifest.StepSend:     {"sending", "loading"},
	manifest.StepCompress: {"compressing", "compressing"},
	manifest.StepWrite:    {"writing", "writing"},
	manifest.StepVerify:   {"verifying", "verifying"},
}

// A gauge shows how many of a step's bytes are done, such as those to send. What is spared is no part of it.
type gauge interface {
	set(done, total int64)
	clear() // make room for a line of text
}

func newGauge(w io.Writer, p phase) gauge {
	if isTerminal(w) {
		return &bar{w: w, phase: p}
	}
	return &lines{w: w, phase: p, every: 5 * time.Second, now: time.Now}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// bar is a gauge on a terminal: bytes, rate, time left. It uses no colours.
type bar struct {
	w     io.Writer
	phase phase
	bar   *progressbar.ProgressBar
	total int64
	full  bool
	drawn time.Time
}

// redraw is the least time between two drawings. The bar's own limit would swallow the last one too.
const redraw = 100 * time.Millisecond

func (b *bar) set(done, total int64) {
	full := done >= total
	if full == b.full && time.Since(b.drawn) < redraw {
		return
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(b.phase.doing), progressbar.OptionShowBytes(true),
			progressbar.OptionShowCount(), progressbar.OptionFullWidth(), progressbar.OptionSetPredictTime(true),
			progressbar.OptionClearOnFinish())
	} else if total != b.total {
		b.bar.ChangeMax64(total)
	}
	if full != b.full {
		b.bar.Describe(map[bool]string{true: b.phase.done, false: b.phase.doing}[full])
	}
	// A bar that was full once stays so, but the total may grow while sizes become known: leave one byte.
	_ = b.bar.Set64(min(done, total-1)) // drawing failed: there is nobody to tell
	b.total, b.full, b.drawn = total, full, time.Now()
}

func (b *bar) clear() { _ = b.bar.Clear() }

// lines is a gauge in a log: a line every few seconds.
type lines struct {
	w     io.Writer
	phase phase
	every time.Duration
	now   func() time.Time

	last     time.Time
	lastDone int64
}

func (l *lines) set(done, total int64) {
	now := l.now()
	if l.last.IsZero() {
		l.last, l.lastDone = now, done
		return
	}
	since := now.Sub(l.last)
	if since < l.every {
		return
	}
	fmt.Fprintln(l.w, l.phase.doing+": "+advance(done, total, float64(done-l.lastDone)/since.Seconds()))
	l.last, l.lastDone = now, done
}

func (l *lines) clear() {}

// advance reads "560 MB of 1.25 GB, 45 %, 110 MB/s, 6 s left".
func advance(done, total int64, rate float64) string {
	line := fmt.Sprintf("%s of %s, %d %%", manifest.FormatBytes(done), manifest.FormatBytes(total), 100*done/max(total, 1))
	if rate < 1 {
		return line + ", stalled"
	}
	line += fmt.Sprintf(", %s/s", manifest.FormatBytes(int64(rate)))
	if left := float64(total-done) / rate; left > 0 {
		line += ", " + formatDuration(time.Duration(left*float64(time.Second))) + " left"
	}
	return line
}

// formatDuration writes d for people: "0.4 s", "42 s", "3 min 5 s", "2 h 10 min".
func formatDuration(d time.Duration) string {
	switch {
	case d < 0:
		return "0.0 s"
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 59500*time.Millisecond:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}
