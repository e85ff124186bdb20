package link

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// PathOptions describe a path below TCP. The zero value is a path without limits.
type PathOptions struct {
	Rate       int64         // bits per second of IP packets in each direction; 0 means no limit
	RTT        time.Duration // round-trip time of the empty path
	Loss       float64       // probability that a packet is lost, in each direction: 0.001 is 0.1 %
	Seed       uint64        // another seed loses other packets
	Queue      int64         // bytes that wait at the bottleneck before packets are dropped; default rate × RTT, at least 64 KiB
	MTU        int           // default 1500
	Congestion string        // congestion control of both ends; default cubic
}

// A Path is two network namespaces joined by a pair of TUN devices, with a line between them that this process plays.
type Path struct {
	Client, Server *Namespace

	tuns     [2]*os.File
	up, down *way
	wg       sync.WaitGroup
	once     sync.Once
	err      error
}

// NewPath makes the namespaces and opens the path. It needs root; the error says what else is missing.
func NewPath(ctx context.Context, o PathOptions) (*Path, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a path below TCP needs root")
	}
	if err := removeDead(ctx); err != nil {
		return nil, err
	}
	if o.MTU == 0 {
		o.MTU = 1500
	}
	if o.Congestion == "" {
		o.Congestion = "cubic"
	}
	p := &Path{up: newWay(o, 1), down: newWay(o, 2)}
	if err := p.open(ctx, o); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.wg.Go(func() { p.up.carry(p.tuns[0], p.tuns[1]) })
	p.wg.Go(func() { p.down.carry(p.tuns[1], p.tuns[0]) })
	return p, nil
}

// open makes both ends. The addresses are of the range for documentation, so they are nobody's.
func (p *Path) open(ctx context.Context, o PathOptions) (err error) {
	const client, server = "192.0.2.1", "192.0.2.2"
	if p.Client, err = newNamespace(ctx, "client", client); err != nil {
		return err
	}
	if p.Server, err = newNamespace(ctx, "server", server); err != nil {
		return err
	}
	if p.tuns[0], err = p.Client.openTUN(ctx, server, o.MTU); err != nil {
		return err
	}
	if p.tuns[1], err = p.Server.openTUN(ctx, client, o.MTU); err != nil {
		return err
	}
	for _, n := range []*Namespace{p.Client, p.Server} {
		if err := n.setDefault(o.Congestion); err != nil {
			return fmt.Errorf("choose congestion control %s: %w", o.Congestion, err)
		}
	}
	return nil
}

// Up returns what the direction from client to server has seen so far.
func (p *Path) Up() Counts { return p.up.counts() }

// Down returns what the direction from server to client has seen so far.
func (p *Path) Down() Counts { return p.down.counts() }

// Close removes the path and its namespaces. What still runs in them loses its network. Closing twice is no error.
func (p *Path) Close() error {
	p.once.Do(func() {
		for _, f := range p.tuns {
			if f != nil {
				p.err = errors.Join(p.err, f.Close())
			}
		}
		p.wg.Wait()
		for _, n := range []*Namespace{p.Client, p.Server} {
			if n != nil {
				p.err = errors.Join(p.err, n.remove())
			}
		}
	})
	return p.err
}
