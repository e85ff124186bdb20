package transfer

import (
	"slices"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestPaceFollowsTheLink(t *testing.T) {
	tests := []struct {
		name string
		link float64 // bytes per second
		want level
	}{
		{"nothing measured yet", 0, levelFastest},
		{"loopback", 700e6, levelRaw},
		{"1 Gbit/s", 110e6, levelFastest},
		{"100 Mbit/s", 12e6, levelBetter},
		{"20 Mbit/s", 2.4e6, levelBetter},
	}
	for _, tt := range tests {
		p := newPace(2)
		c := &channel{}
		if tt.link > 0 {
			for range 200 {
				p.sent(c, 1e6, time.Duration(1e6/tt.link*1e9))
			}
		}
		if got := p.level(); got != tt.want {
			t.Errorf("%s: level %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestPaceStopsCompressingWhatDoesNotShrinkAndTriesAgain(t *testing.T) {
	p, c := newPace(2), &channel{}
	p.sent(c, 1e6, 80*time.Millisecond)
	for range 30 {
		p.encoded(levelBetter, 4<<20, 4<<20, 10*time.Millisecond)
	}
	var tried int
	for range 10 * retry {
		if p.level() != levelRaw {
			tried++
		}
	}
	if tried != 10 {
		t.Errorf("tried %d times in %d chunks, want 10", tried, 10*retry)
	}
	p.newBlob()
	if p.level() == levelRaw {
		t.Error("a new blob is not tried")
	}
}

func TestMissing(t *testing.T) {
	const size = 5*manifest.ChunkSize + 1 // six chunks
	tests := []struct {
		staged []int
		want   []span
	}{
		{nil, []span{{0, 6}}},
		{[]int{0}, []span{{1, 6}}},
		{[]int{5}, []span{{0, 5}}},
		{[]int{1, 2, 4}, []span{{0, 1}, {3, 4}, {5, 6}}},
		{[]int{0, 1, 2, 3, 4, 5}, nil},
		{[]int{7, 9}, []span{{0, 6}}}, // of a blob that was larger than it turns out
	}
	for _, tt := range tests {
		if got := missing(size, tt.staged); !slices.Equal(got, tt.want) {
			t.Errorf("missing(%v) = %v, want %v", tt.staged, got, tt.want)
		}
	}
	if got := missing(0, nil); got != nil {
		t.Errorf("an empty blob misses %v", got)
	}
}
