package main

import (
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestFormatDuration(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0.0 s"},
		{0, "0.0 s"},
		{1840 * time.Millisecond, "1.8 s"},
		{9949 * time.Millisecond, "9.9 s"},
		{9950 * time.Millisecond, "10 s"},
		{59499 * time.Millisecond, "59 s"},
		{59500 * time.Millisecond, "1 min 0 s"},
		{185 * time.Second, "3 min 5 s"},
		{time.Hour - time.Second, "59 min 59 s"},
		{2*time.Hour + 10*time.Minute + 20*time.Second, "2 h 10 min"},
	} {
		if got := formatDuration(tt.d); got != tt.want {
			t.Errorf("formatDuration(%s) = %q, want %q", tt.d, got, tt.want)
		}
	}
}

func TestAdvance(t *testing.T) {
	for _, tt := range []struct {
		done, total int64
		rate        float64
		want        string
	}{
		{560e6, 1250e6, 110e6, "560 MB of 1.25 GB, 44 %, 110 MB/s, 6.3 s left"},
		{0, 1000, 0, "0 B of 1.00 kB, 0 %, stalled"},
		{1000, 1000, 500, "1.00 kB of 1.00 kB, 100 %, 500 B/s"},
	} {
		if got := advance(tt.done, tt.total, tt.rate); got != tt.want {
			t.Errorf("advance(%d, %d, %g) = %q, want %q", tt.done, tt.total, tt.rate, got, tt.want)
		}
	}
}

// Without a terminal: one line every few seconds, no control characters, nothing for a short push.
func TestLines(t *testing.T) {
	var out strings.Builder
	clock := time.Unix(1000, 0)
	l := &lines{w: &out, phase: phases[manifest.StepSend], every: 5 * time.Second, now: func() time.Time { return clock }}
	for done := int64(0); done <= 12e6; done += 1e5 {
		l.set(done, 20e6)
		clock = clock.Add(100 * time.Millisecond)
	}
	want := "sending: 5.00 MB of 20.0 MB, 25 %, 1.00 MB/s, 15 s left\n" +
		"sending: 10.0 MB of 20.0 MB, 50 %, 1.00 MB/s, 10 s left\n"
	if out.String() != want {
		t.Errorf("got:\n%swant:\n%s", out.String(), want)
	}
}

// On a terminal: bytes and rate; a total that grows, a count that is full early and goes on, and clearing do no harm.
func TestBar(t *testing.T) {
	var out strings.Builder
	b := &bar{w: &out, phase: phases[manifest.StepSend]}
	b.set(0, 10e6)
	time.Sleep(redraw)
	b.set(5e6, 10e6)
	b.set(5e6+1, 10e6) // too soon to be drawn
	b.set(10e6, 10e6)  // the last one counts
	b.clear()
	if !strings.HasSuffix(strings.TrimRight(out.String(), " \r"), "MB/s) [0s:0s]") || !strings.Contains(out.String(), "loading  99%") {
		t.Errorf("the last count was not drawn: %q", out.String())
	}
	at := out.Len()
	b.set(12e6, 40e6)
	if more := out.String()[at:]; !strings.Contains(more, "sending  30%") || !strings.Contains(more, "12/40 MB") {
		t.Errorf("the bar stopped when it was full for a moment: %q", more)
	}
	for _, want := range []string{"sending", "5.0/10 MB", "50%", "MB/s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("colours or cursor movements in %q", out.String())
	}
}
