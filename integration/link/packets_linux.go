package link

import (
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A way is one direction of a path below TCP: packets enter, are lost with a probability or dropped when the queue is
// full, and leave at the rate and after the delay of the line.
type way struct {
	line *line
	loss float64
	rng  *rand.Rand // only the reading goroutine uses it

	packets, bytes, lost, dropped atomic.Int64
}

func newWay(o PathOptions, seed uint64) *way {
	return &way{line: newLine(o.Rate, o.RTT, o.Queue), loss: o.Loss, rng: rand.New(rand.NewPCG(o.Seed, seed))}
}

// carry moves packets from src to dst until src is closed.
func (w *way) carry(src io.Reader, dst io.Writer) {
	var (
		under = make(chan parcel, 1<<16)
		wg    sync.WaitGroup
	)
	wg.Go(func() {
		for p := range under {
			// Below 50 µs a timer is later than the packet would be early.
			if d := time.Until(p.arrive); d > 50*time.Microsecond {
				time.Sleep(d)
			}
			_, _ = dst.Write(p.data) // a full receiver drops it, as it would
		}
	})
	defer wg.Wait()
	defer close(under)
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		w.packets.Add(1)
		w.bytes.Add(int64(n))
		if w.loss > 0 && w.rng.Float64() < w.loss {
			w.lost.Add(1)
			continue
		}
		arrive, full := w.line.offer(time.Now(), n)
		if full > 0 {
			w.dropped.Add(1)
			continue
		}
		select {
		case under <- parcel{data: append([]byte(nil), buf[:n]...), arrive: arrive}:
		default:
			w.dropped.Add(1)
		}
	}
}

// Counts are what one direction of a path has seen.
type Counts struct {
	Packets int64 // sent into the path
	Bytes   int64 // of these packets, with IP and TCP headers
	Lost    int64 // packets that chance took
	Dropped int64 // packets for which the queue had no room
}

func (w *way) counts() Counts {
	return Counts{w.packets.Load(), w.bytes.Load(), w.lost.Load(), w.dropped.Load()}
}
