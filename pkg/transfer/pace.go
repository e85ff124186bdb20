package transfer

import (
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
	mu       sync.Mutex
	encoders int
	speed    [levels]float64 // raw bytes that one encoder takes
	ratio    [levels]float64 // raw bytes for each encoded one
	link     map[*channel]float64
	passed   int // chunks that passed uncompressed since the last that did not
}

var usualRatio = [levels]float64{levelRaw: 1, levelFastest: 2.7, levelDefault: 3.1, levelBetter: 3.36}

// newPace starts with what was measured on system libraries and programs; each chunk corrects it.
func newPace(encoders int) *pace {
	return &pace{
		encoders: encoders,
		speed:    [levels]float64{levelFastest: 270e6, levelDefault: 170e6, levelBetter: 48e6},
		ratio:    usualRatio,
		link:     map[*channel]float64{},
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

// sent notes how long a channel took to swallow bytes. Short writes are swallowed by buffers and tell nothing.
func (p *pace) sent(c *channel, bytes int, took time.Duration) {
	if bytes < 256<<10 || took <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link[c] = blend(p.link[c], float64(bytes)/took.Seconds())
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
	for _, r := range p.link {
		sum += r
	}
	return sum
}

// gain is how much faster a harder level must be to be worth its work.
const gain = 1.15

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
		rate := min(float64(p.encoders)*p.speed[l], link*p.ratio[l])
		if rate > most*gain {
			best, most = l, rate
		}
	}
	return best
}
