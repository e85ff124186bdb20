//go:build linux

package meter

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
)

// Traffic is what OpenSSH counted over all connections that ended since it was made: SSH packets, so all but the headers of
// TCP and IP. A server tells a sum only of connections that were closed without a word, as clara-push does; of others the
// client tells it (ssh -o LogLevel=VERBOSE), and what it says must be given to Add.
type Traffic struct {
	server *lab.SSHD
	from   int64 // where to go on in the server's log
	In     int64 // bytes that clients sent
	Out    int64 // bytes that clients received
}

// NewTraffic begins to count.
func NewTraffic(s *lab.SSHD) (*Traffic, error) {
	info, err := os.Stat(s.Log())
	if err != nil {
		return nil, err
	}
	return &Traffic{server: s, from: info.Size()}, nil
}

// Settle waits until all connections have ended and adds what they carried. The server tells a connection's sum in its
// log when it ends, which is shortly after the client is gone.
func (t *Traffic) Settle(ctx context.Context) error {
	limit := time.Now().Add(40 * time.Second) // an agent lives for 30 s without its client
	for len(t.server.Connections()) > 0 {
		if time.Now().After(limit) || ctx.Err() != nil {
			return fmt.Errorf("connections to %s are still open", t.server.Name)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return t.read()
}

func (t *Traffic) read() error {
	f, err := os.Open(t.server.Log())
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(t.from, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		t.from += int64(len(line))
		out, in := transferred(line)
		t.In, t.Out = t.In+in, t.Out+out
	}
}

// Add adds the sums that stand in what an ssh client said.
func (t *Traffic) Add(said string) {
	for line := range strings.Lines(said) {
		in, out := transferred(line)
		t.In, t.Out = t.In+in, t.Out+out
	}
}

// transferred reads one end's sum; zeros when the line tells none.
func transferred(line string) (sent, received int64) {
	if n, _ := fmt.Sscanf(strings.TrimSpace(line), "Transferred: sent %d, received %d bytes", &sent, &received); n != 2 {
		return 0, 0
	}
	return sent, received
}
