//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/clara-push/clara-push/integration/link"
)

// line is what lies between the two ends.
type line struct {
	name  string
	image string // what is measured over it
	rate  int64  // bits per second; 0: this machine's loopback
	rtt   time.Duration
	loss  float64 // share of packets that are lost
	bbr   bool    // the kernel offers BBR
}

// The images by size.
const (
	largeImage = "large"
	lossyImage = "lossy"
)

const loopback = "loopback"

var lines = []line{
	{name: loopback, image: largeImage},
	{name: "1gbit", image: largeImage, rate: 1e9, rtt: 20 * time.Millisecond},
	{name: "100mbit", image: largeImage, rate: 100e6, rtt: 40 * time.Millisecond},
	{name: "lossy", image: lossyImage, rate: 100e6, rtt: 40 * time.Millisecond, loss: 0.001},
	{name: "lossy-bbr", image: lossyImage, rate: 100e6, rtt: 40 * time.Millisecond, loss: 0.001, bbr: true},
}

func lineNames() string {
	var names []string
	for _, l := range append(lines[:len(lines):len(lines)], bundleLine) {
		names = append(names, l.name)
	}
	return strings.Join(names, ", ")
}

// route is how programs reach the host over a line.
type route struct {
	config string                // for ssh -F, scp -F, clara-push -F
	enter  []string              // words before a command
	start  func(*exec.Cmd) error // how to start one; nil: as always
	close  func() error
}

// open makes the line ready.
func (w *world) open(ctx context.Context, l line) (*route, error) {
	switch {
	case l.rate == 0:
		return w.direct(l)
	case l.loss > 0:
		return w.lossy(ctx, l)
	}
	p, err := link.Listen(ctx, w.host.Addr, link.Options{Rate: l.rate, RTT: l.rtt})
	if err != nil {
		return nil, err
	}
	r := &route{close: p.Close}
	if err := w.writeConfig(r, l, "127.0.0.1", p.Port); err != nil {
		p.Close()
		return nil, err
	}
	return r, nil
}

func (w *world) direct(l line) (*route, error) {
	r := &route{close: func() error { return nil }}
	return r, w.writeConfig(r, l, "127.0.0.1", w.host.Port)
}

// writeConfig writes an ssh_config that leads to the host through the line.
func (w *world) writeConfig(r *route, l line, host string, port int) error {
	known := filepath.Join(w.dir, "known_hosts")
	key, err := os.ReadFile(w.host.HostKeys["ed25519"])
	if err != nil {
		return err
	}
	if err := os.WriteFile(known, []byte(hostAlias+" "+string(key)), 0o600); err != nil {
		return err
	}
	r.config = filepath.Join(w.dir, "ssh_config-"+l.name)
	text := fmt.Sprintf("Host %s\n  HostName %s\n  Port %d\n  HostKeyAlias %s\n  User root\n  IdentityFile %s\n  IdentitiesOnly yes\n"+
		"  UserKnownHostsFile %s\n  GlobalKnownHostsFile /dev/null\n  BatchMode yes\n", hostAlias, host, port, hostAlias, w.host.ClientKey, known)
	return os.WriteFile(r.config, []byte(text), 0o600)
}
