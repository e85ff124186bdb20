package transfer

import (
	"context"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// Status implements Keeper.
func (s *SSH) Status(ctx context.Context) (manifest.Status, error) {
	m, err := s.request(ctx, wire.Message{Type: wire.TStatus}, nil)
	if err != nil {
		return manifest.Status{}, err
	}
	if m.Status == nil {
		return manifest.Status{}, s.unexpected(m)
	}
	return *m.Status, nil
}

// Rollback implements Keeper.
func (s *SSH) Rollback(ctx context.Context, what manifest.Selection) (manifest.Receipt, error) {
	return s.change(ctx, wire.Message{Type: wire.TRollback, Selection: &what})
}

// Remove implements Keeper.
func (s *SSH) Remove(ctx context.Context, what manifest.Selection) (manifest.Receipt, error) {
	return s.change(ctx, wire.Message{Type: wire.TRemove, Selection: &what})
}

func (s *SSH) change(ctx context.Context, request wire.Message) (manifest.Receipt, error) {
	m, err := s.request(ctx, request, s.interim(s.options.Events, nil))
	if err != nil {
		return manifest.Receipt{}, err
	}
	if m.Receipt == nil {
		return manifest.Receipt{}, s.unexpected(m)
	}
	return *m.Receipt, nil
}

// Sweep implements Keeper.
func (s *SSH) Sweep(ctx context.Context, age time.Duration) (manifest.Swept, error) {
	m, err := s.request(ctx, wire.Message{Type: wire.TSweep, Sweep: &wire.Sweep{Age: int64(age / time.Second)}}, nil)
	if err != nil {
		return manifest.Swept{}, err
	}
	if m.Swept == nil {
		return manifest.Swept{}, s.unexpected(m)
	}
	return *m.Swept, nil
}
