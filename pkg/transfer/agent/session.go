//go:build linux

package agent

import (
	"context"
	"regexp"
	"time"

	"github.com/clara-push/clara-push/pkg/loader"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

var sessionName = regexp.MustCompile(`^[0-9a-f]{32}$`)

// welcome opens the host, and when this session's earlier connection was lost, finds out how that ended.
func (s *session) welcome(ctx context.Context) error {
	if !sessionName.MatchString(s.hello.Session) {
		return manifest.Fail(manifest.KindUsage, "agent", "the client gave no valid session")
	}
	host, err := loader.Open(ctx, loader.Options{
		EngineHost: s.hello.EngineHost, StateDir: s.hello.StateDir, Tool: s.options.Version,
		NoEngine: s.hello.NoEngine, AnyEngine: s.hello.AnyEngine, Repository: s.hello.Repository,
	})
	if err != nil {
		return err
	}
	finished, err := s.takeOver(ctx, host)
	if err != nil {
		host.Close()
		return err
	}
	if err := s.listen(host); err != nil {
		host.Close()
		return err
	}
	s.host = host
	s.send(wire.Message{Type: wire.TWelcome, ID: s.helloID, Welcome: &wire.Welcome{
		Version: s.options.Version, Platform: host.Platform(), Engine: host.Engine(), Boot: loader.Boot(), Finished: finished,
	}})
	return nil
}

// takeOver waits for an agent of the same session to end and returns the receipt that it may have left.
func (s *session) takeOver(ctx context.Context, host *loader.Host) (*manifest.Receipt, error) {
	if !host.Held(s.hello.Session) {
		return host.ReceiptOf(s.hello.Session)
	}
	lock, err := s.takeLock(ctx, host, s.helloID)
	if err != nil {
		return nil, err
	}
	lock.Release()
	return host.ReceiptOf(s.hello.Session)
}

func (s *session) takeLock(ctx context.Context, host *loader.Host, id uint64) (*loader.Lock, error) {
	owner := loader.Owner{From: manifest.Plain(s.hello.From), Session: s.hello.Session}
	return host.Lock(ctx, owner, time.Duration(s.hello.LockWait)*time.Second, s.events(id))
}

func (s *session) inventory(ctx context.Context, m wire.Message) {
	inv, err := s.host.Inventory(ctx, *m.Query)
	if err != nil {
		s.fail(m.ID, err)
		return
	}
	s.send(wire.Message{Type: wire.TInventory, ID: m.ID, Inventory: &inv})
}

func (s *session) sweep(ctx context.Context, m wire.Message) {
	swept, err := s.host.Sweep(ctx, time.Duration(m.Sweep.Age)*time.Second)
	if err != nil {
		s.fail(m.ID, err)
		return
	}
	s.send(wire.Message{Type: wire.TSwept, ID: m.ID, Swept: &swept})
}

func (s *session) status(ctx context.Context, m wire.Message) {
	status, err := s.host.Status(ctx)
	if err != nil {
		s.fail(m.ID, err)
		return
	}
	s.send(wire.Message{Type: wire.TStatus, ID: m.ID, Status: &status})
}

// change takes something back or away, under the lock.
func (s *session) change(ctx context.Context, m wire.Message, do func(context.Context, manifest.Selection, loader.Owner, manifest.Events) (manifest.Receipt, error)) {
	if err := s.host.Adopt(*m.Selection); err != nil {
		s.fail(m.ID, err)
		return
	}
	if s.lock == nil { // an apply of this session keeps it: what is taken back is then what was placed
		lock, err := s.takeLock(ctx, s.host, m.ID)
		if err != nil {
			s.fail(m.ID, err)
			return
		}
		defer lock.Release()
	}
	receipt, err := do(ctx, *m.Selection, loader.Owner{From: manifest.Plain(s.hello.From), Session: s.hello.Session}, s.events(m.ID))
	if err != nil {
		s.fail(m.ID, err)
		return
	}
	s.send(wire.Message{Type: wire.TReceipt, ID: m.ID, Receipt: &receipt})
}

// put keeps a chunk and acknowledges it on the channel it came by. It returns a buffer for the next one, in the place of body.
func (s *session) put(out *wire.Writer, m wire.Message, body []byte) (spare []byte, err error) {
	p := m.Put
	c := loader.Chunk{Index: p.Index, Codec: p.Codec, Raw: p.Raw, Sum: p.Sum, Body: body}
	spare = body
	switch {
	case len(p.Parts) > 0:
		err = s.host.PutPack(p.Parts, c)
	case p.Model:
		err = s.host.PutFile(p.Digest, c)
	default:
		spare, err = s.host.Put(p.Digest, c)
	}
	if spare == nil {
		spare = make([]byte, wire.MaxBody)
	}
	if err == nil {
		_, err = out.Send(wire.Message{Type: wire.TAck, ID: m.ID}, nil)
	}
	return spare, err
}
