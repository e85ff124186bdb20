package transfer

import (
	"math"
	"sync"
	"time"
)

// level is how hard a chunk is compressed.
type level int

// The levels, from least to most work. They are zstd's as klauspost/compress has them.
const (
	levelRaw level = iota
	levelFastest
	levelDefault
	levelBetter
	levels
)

// pace measures the link and the encoders, and from both says how hard to compress the next chunk: so that sending and
// encoding together are fastest. All rates are bytes per second.
type pace struct {
	near bool // both ends share the processors, so that compressing takes from the rest what it saves

	mu       sync.Mutex
	encoders int
	speed    [levels]float64 // raw bytes that one encoder takes
	ratio    [levels]float64 // raw bytes for each encoded one
	link     map[*channel]spell
	passed   int // chunks that passed uncompressed since the last that did not
}

// spell is what a channel has carried of late, and the seconds that took: what lies back counts less and less.
type spell struct{ bytes, seconds float64 }

// memory is after how many seconds of sending a measurement counts half.
const memory = 1.0

// enough is how many seconds of sending tell something: the first bytes are swallowed by buffers.
const enough = 0.05

func (s spell) add(bytes int, took time.Duration) spell {
	fade := math.Exp2(-took.Seconds() / memory)
	return spell{s.bytes*fade + float64(bytes), s.seconds*fade + took.Seconds()}
}

var usualRatio = [levels]float64{levelRaw: 1, levelFastest: 2.5, levelDefault: 2.65, levelBetter: 2.72}

// newPace starts with what was measured on system libraries and programs; each chunk corrects it.
func newPace(encoders int) *pace {
	return &pace{
		encoders: encoders,
		speed:    [levels]float64{levelFastest: 270e6, levelDefault: 170e6, levelBetter: 48e6},
		ratio:    usualRatio,
		link:     map[*channel]spell{},
	}
}

// weight of a new measurement against what is known.
const weight = 0.3

func blend(old, fresh float64) float64 {
	if old == 0 {
		return fresh
	}
	return old + weight*(fresh-old)
}

// encoded notes how a chunk went.
func (p *pace) encoded(l level, raw, out int, took time.Duration) {
	if l == levelRaw || out == 0 || took <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.speed[l] = blend(p.speed[l], float64(raw)/took.Seconds())
	fresh := float64(raw) / float64(out)
	scale := blend(p.ratio[l], fresh) / p.ratio[l]
	for i := levelFastest; i < levels; i++ { // what shrinks less at one level shrinks less at all
		p.ratio[i] = max(1, p.ratio[i]*scale)
	}
}

// sent notes how long a channel took to swallow bytes.
func (p *pace) sent(c *channel, bytes int, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link[c] = p.link[c].add(bytes, took)
}

// gone forgets a channel that takes no more.
func (p *pace) gone(c *channel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.link, c)
}

// rateLocked is what all channels together carry; 0 before anything was measured.
func (p *pace) rateLocked() float64 {
	var sum float64
	for _, s := range p.link {
		if s.seconds >= enough {
			sum += s.bytes / s.seconds
		}
	}
	return sum
}

// A harder level must be so much faster to be worth its work. Where the encoders have ease times the speed that is asked
// of them its work is not felt, and little is enough.
const (
	gain   = 1.15
	little = 1.01
	ease   = 2
)

// retry is after how many chunks that did not shrink one is tried again: a layer may hold both kinds of files.
const retry = 16

// newBlob forgets how well the last blob shrank.
func (p *pace) newBlob() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ratio = usualRatio
}

// level says how hard to compress the next chunk.
func (p *pace) level() level {
	if p.near {
		return levelRaw
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	link := p.rateLocked()
	if link == 0 {
		return levelFastest
	}
	l := p.bestLocked(link)
	if l != levelRaw {
		p.passed = 0
		return l
	}
	p.passed++
	slow := float64(p.encoders)*p.speed[levelFastest] > gain*link
	if slow && p.passed%retry == 0 {
		return levelFastest
	}
	return levelRaw
}

func (p *pace) bestLocked(link float64) level {
	best, most := levelRaw, link
	for l := levelFastest; l < levels; l++ {
		able := float64(p.encoders) * p.speed[l]
		rate := min(able, link*p.ratio[l])
		if rate > most*gain || rate > most*little && able > ease*rate {
			best, most = l, rate
		}
	}
	return best
}
